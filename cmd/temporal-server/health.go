package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/rpc/encryption"
	"go.temporal.io/server/temporal/environment"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// healthNames are the names by which the services tell their health, from service/*/ of upstream.
var healthNames = map[string]string{
	string(primitives.FrontendService):         "temporal.api.workflowservice.v1.WorkflowService",
	string(primitives.InternalFrontendService): "temporal.api.workflowservice.v1.WorkflowService",
	string(primitives.HistoryService):          "temporal.api.workflowservice.v1.HistoryService",
	string(primitives.MatchingService):         "temporal.api.workflowservice.v1.MatchingService",
	string(primitives.WorkerService):           "temporal.api.workflowservice.v1.WorkerService",
}

const defaultHealthTimeout = 5 * time.Second

func healthCommand() *cli.Command {
	return &cli.Command{
		Name: "health",
		Usage: "Exit with 0 if the services of this host serve, by gRPC's health service; with the configuration, and so the " +
			"addresses and TLS, of start",
		ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{
				Name:    "service",
				Aliases: []string{"svc"},
				Value:   cli.NewStringSlice(string(primitives.FrontendService)),
				Usage:   "service(s) to ask",
				EnvVars: []string{"TEMPORAL_SERVICES"},
			},
			bindOnHostnameFlag(),
			&cli.DurationFlag{
				Name:  "timeout",
				Value: defaultHealthTimeout,
				Usage: "how long to wait for an answer",
			},
		},
		Before: func(c *cli.Context) error {
			if c.Args().Present() {
				return cli.Exit(fmt.Sprintf("health takes no arguments, but got %q: name services with --service", c.Args().First()), 1)
			}
			return checkConfigFlags(c)
		},
		Action: health,
	}
}

func health(c *cli.Context) error {
	stdlog.SetOutput(io.Discard) // upstream's loader of the configuration writes what it reads
	cfg, err := loadServerConfig(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	var problems []error
	for _, service := range c.StringSlice("service") {
		status, err := askHealth(ctx, cfg, service)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", service, err))
			continue
		}
		_, _ = fmt.Fprintf(c.App.Writer, "%s: %s\n", service, status)
		if status != healthpb.HealthCheckResponse_SERVING {
			problems = append(problems, fmt.Errorf("%s does not serve", service))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return cli.Exit(err, 1)
	}
	return nil
}

// askHealth asks one service of this host.
func askHealth(ctx context.Context, cfg *config.Config, service string) (healthpb.HealthCheckResponse_ServingStatus, error) {
	const unknown = healthpb.HealthCheckResponse_UNKNOWN
	name, ok := healthNames[service]
	if !ok {
		return unknown, errors.New("there is no such service: give --service frontend, internal-frontend, history, matching or worker")
	}
	configured, ok := cfg.Services[service]
	if !ok {
		return unknown, errors.New("the configuration has no such service")
	}
	address, err := localAddress(&configured.RPC)
	if err != nil {
		return unknown, err
	}
	connection, err := dial(cfg, service, address)
	if err != nil {
		return unknown, err
	}
	defer func() { _ = connection.Close() }()
	answer, err := healthpb.NewHealthClient(connection).Check(ctx, &healthpb.HealthCheckRequest{Service: name}, grpc.WaitForReady(false))
	if err != nil {
		return unknown, fmt.Errorf("%s: %w", address, err)
	}
	return answer.Status, nil
}

// dial connects to a service as the services of this host do.
func dial(cfg *config.Config, service, address string) (*grpc.ClientConn, error) {
	transport, err := transportCredentials(&cfg.Global.TLS, service)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(transport))
}

// localAddress is where a service of this host listens (getListenIP of upstream's common/rpc), or for a wildcard the
// loopback address.
func localAddress(rpc *config.RPC) (string, error) {
	host := rpc.BindOnIP
	switch {
	case rpc.BindOnLocalHost:
		host = environment.GetLocalhostIP()
	case host == "":
		ip, err := config.ListenIP()
		if err != nil {
			return "", err
		}
		host = ip.String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(rpc.GRPCPort)), nil
}

// transportCredentials are those with which the services of this host call each other.
func transportCredentials(cfg *config.RootTLS, service string) (credentials.TransportCredentials, error) {
	provider, err := encryption.NewTLSConfigProviderFromConfig(*cfg, metrics.NoopMetricsHandler, log.NewNoopLogger(), nil)
	if err != nil {
		return nil, err
	}
	get := provider.GetInternodeClientConfig
	if service == string(primitives.FrontendService) {
		get = provider.GetFrontendClientConfig
	}
	var client *tls.Config
	if client, err = get(); err != nil {
		return nil, err
	}
	if client == nil {
		return insecure.NewCredentials(), nil
	}
	return credentials.NewTLS(client), nil
}
