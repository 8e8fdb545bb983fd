// Package server runs the real Temporal server, all four services or some, in this process: what the end-to-end tests and the
// demo start on a testbed.
//
//	s, err := server.Start(ctx, server.Config{Main: testbed.MainConfig(), Visibility: ..., HistoryShards: 16})
//	if err != nil { ... }
//	defer s.Stop()
//	err = s.CreateNamespace(ctx, "demo")
//	c, err := s.Dial("demo")
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"gopkg.in/yaml.v3"
)

const (
	// host is the address of all ports.
	host = "127.0.0.1"
	// portCount is the number of ports of a server: two for each of the four services, and one for Nexus.
	portCount = 9
)

// Config says what Start brings up.
type Config struct {
	// Main and Visibility are the stores. The schema has to be there.
	Main, Visibility *config.SQL
	// SecondaryVisibility is a second visibility store that gets all records too; nil for none. Namespaces whose
	// dynamic configuration says system.enableReadFromSecondaryVisibility are read from it.
	SecondaryVisibility *config.SQL
	// HistoryShards is the number of history shards. It cannot change once a server ran on the main store.
	HistoryShards int32
	// FrontendPort is where the frontend listens; 0 for a free port. It has to be given where another host has the frontend.
	FrontendPort int
	// Services are those that this host runs, as in "matching"; nil for all. Hosts on one main store are one cluster.
	Services []string
	// DynamicConfig overrides Temporal's defaults.
	DynamicConfig dynamicconfig.StaticClient
	// Log receives what the server and its clients log from level info on, one JSON object a line. With nil only fatal errors
	// are logged, to standard error.
	Log io.Writer
}

// Server is a running Temporal server. Its methods may be called from several goroutines.
type Server struct {
	frontend string
	logger   log.Logger
	counters *counters
	stop     func() error
}

// Start returns when the frontend serves. The context limits the start, not the life of the server.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start a Temporal server: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (*Server, error) {
	ports, err := freePorts(portCount)
	if err != nil {
		return nil, err
	}
	if cfg.FrontendPort == 0 {
		cfg.FrontendPort, ports = ports[0], ports[1:]
	}
	s := &Server{
		frontend: net.JoinHostPort(host, strconv.Itoa(cfg.FrontendPort)),
		logger:   newLogger(cfg.Log),
		counters: newCounters(),
	}
	serverConfig := cfg.server(s.frontend, ports)
	claimMapper, err := authorization.GetClaimMapperFromConfig(&serverConfig.Global.Authorization, s.logger)
	if err != nil {
		return nil, err
	}
	running, err := temporal.NewServer(
		temporal.WithConfig(serverConfig),
		temporal.ForServices(cfg.services()),
		temporal.WithLogger(s.logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return claimMapper }),
		temporal.WithDynamicConfigClient(cfg.dynamicConfig()),
		temporal.WithCustomMetricsHandler(s.counters),
	)
	if err != nil {
		return nil, err
	}
	if err := running.Start(); err != nil {
		return nil, errors.Join(err, running.Stop())
	}
	s.stop = sync.OnceValue(running.Stop)

	if err := s.awaitFrontend(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (c Config) services() []string {
	if c.Services == nil {
		return temporal.DefaultServices
	}
	return c.Services
}

// awaitFrontend returns when the frontend serves.
func (s *Server) awaitFrontend(ctx context.Context) error {
	c, err := s.Dial("")
	if err != nil {
		return err
	}
	defer c.Close()
	err = wait(ctx, func() error {
		_, err := c.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("the frontend at %s does not serve: %w", s.frontend, err)
	}
	return nil
}

// dynamicConfig adds what every user of this package needs: new namespaces and search attributes are seen soon.
func (c Config) dynamicConfig() dynamicconfig.StaticClient {
	values := dynamicconfig.StaticClient{
		dynamicconfig.NamespaceCacheRefreshInterval.Key():           time.Second,
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,
	}
	if c.SecondaryVisibility != nil {
		values[dynamicconfig.SecondaryVisibilityWritingMode.Key()] = "dual"
	}
	maps.Copy(values, c.DynamicConfig)
	return values
}

// server is what a configuration file says otherwise.
func (cfg Config) server(frontendAddr string, ports []int) *config.Config {
	const (
		mainStore      = "main"
		visibility     = "visibility"
		secondary      = "secondary-visibility"
		currentCluster = "active"
	)
	persistence := config.Persistence{
		DefaultStore:     mainStore,
		VisibilityStore:  visibility,
		NumHistoryShards: cfg.HistoryShards,
		DataStores: map[string]config.DataStore{
			mainStore:  {SQL: cfg.Main},
			visibility: {SQL: cfg.Visibility},
		},
	}
	if cfg.SecondaryVisibility != nil {
		persistence.SecondaryVisibilityStore = secondary
		persistence.DataStores[secondary] = config.DataStore{SQL: cfg.SecondaryVisibility}
	}
	frontend := config.RPC{BindOnIP: host, GRPCPort: cfg.FrontendPort, MembershipPort: ports[0], HTTPPort: ports[1]}
	history := config.RPC{BindOnIP: host, GRPCPort: ports[2], MembershipPort: ports[3]}
	matching := config.RPC{BindOnIP: host, GRPCPort: ports[4], MembershipPort: ports[5]}
	worker := config.RPC{BindOnIP: host, GRPCPort: ports[6], MembershipPort: ports[7]}
	disabled := config.ArchivalNamespaceDefaults{
		History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
		Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
	}
	return &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host},
		},
		Persistence: persistence,
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        currentCluster,
			CurrentClusterName:       currentCluster,
			ClusterInformation: map[string]cluster.ClusterInformation{
				currentCluster: {
					Enabled:                true,
					InitialFailoverVersion: 1,
					RPCAddress:             frontendAddr,
					HTTPAddress:            net.JoinHostPort(host, strconv.Itoa(frontend.HTTPPort)),
				},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			"frontend": {RPC: frontend},
			"history":  {RPC: history},
			"matching": {RPC: matching},
			"worker":   {RPC: worker},
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: disabled},
		PublicClient:      config.PublicClient{HostPort: frontendAddr},
	}
}

// HistoryHost returns the configuration file, and the one for dynamic configuration that it names, of another host with the
// history service of the server that the configuration is of: for `temporal-server --config-file … start --service history`.
// FrontendPort has to be set. The host's gRPC is at address.
func (cfg Config) HistoryHost(dynamicConfigFile string) (configFile, dynamicConfig []byte, address string, err error) {
	ports, err := freePorts(portCount)
	if err != nil {
		return nil, nil, "", err
	}
	c := cfg.server(net.JoinHostPort(host, strconv.Itoa(cfg.FrontendPort)), ports)
	c.DynamicConfigClient = &dynamicconfig.FileBasedClientConfig{Filepath: dynamicConfigFile, PollInterval: time.Minute}
	c.Log = log.Config{Stdout: true, Level: "info"}
	if configFile, err = yaml.Marshal(c); err != nil {
		return nil, nil, "", err
	}
	values := map[string][]map[string]any{}
	for key, value := range cfg.dynamicConfig() {
		constrained, ok := value.([]dynamicconfig.ConstrainedValue)
		if !ok {
			constrained = []dynamicconfig.ConstrainedValue{{Value: value}}
		}
		for _, v := range constrained {
			if duration, ok := v.Value.(time.Duration); ok {
				v.Value = duration.String()
			}
			entry := map[string]any{"value": v.Value}
			if queue := v.Constraints.TaskQueueName; queue != "" {
				entry["constraints"] = map[string]any{"taskQueueName": queue}
			}
			values[key.String()] = append(values[key.String()], entry)
		}
	}
	dynamicConfig, err = yaml.Marshal(values)
	return configFile, dynamicConfig, net.JoinHostPort(host, strconv.Itoa(c.Services["history"].RPC.GRPCPort)), err
}

// Stop ends the server. It may be called more than once.
func (s *Server) Stop() error { return s.stop() }

// FrontendAddr is the host:port of the frontend's gRPC API.
func (s *Server) FrontendAddr() string { return s.frontend }

// Statements counts the SQL statements since the start by their route, as in "single" or "unsharded"
// (router.Route.String): the plugin's counter vitess_statements.
func (s *Server) Statements() map[string]int64 { return s.counters.of("vitess_statements") }

// Errors counts the errors since the start by their class (outcome.Class): the plugin's counter vitess_errors.
func (s *Server) Errors() map[string]int64 { return s.counters.of("vitess_errors") }

// Dial returns a client for a namespace. The caller closes it.
func (s *Server) Dial(namespace string) (client.Client, error) {
	return client.NewLazyClient(client.Options{
		HostPort:  s.frontend,
		Namespace: namespace,
		Logger:    sdklog.With(log.NewSdkLogger(s.logger), "component", "sdk"),
		ConnectionOptions: client.ConnectionOptions{
			DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(patientCall)},
		},
	})
}

// patientCall gives a call a minute. The SDK gives it 10 s at most, which on a busy machine may be too little.
func patientCall(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	const timeout = time.Minute
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < timeout {
		caller := ctx
		patient, cancel := context.WithTimeout(context.WithoutCancel(caller), timeout)
		defer cancel()
		stop := context.AfterFunc(caller, func() {
			if errors.Is(caller.Err(), context.Canceled) {
				cancel()
			}
		})
		defer stop()
		ctx = patient
	}
	return invoke(ctx, method, request, reply, conn, options...)
}

// CreateNamespace creates a namespace and returns when the server has taken notice of it.
func (s *Server) CreateNamespace(ctx context.Context, name string) error {
	c, err := s.Dial(name)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        name,
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	err = wait(ctx, func() error {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("the frontend does not see namespace %s: %w", name, err)
	}
	return nil
}

// wait repeats try until it succeeds or the context is done.
func wait(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}
