package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/primitives"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// defaultRetention is that of upstream's `temporal operator namespace create`.
	defaultRetention        = 72 * time.Hour
	defaultNamespaceTimeout = 2 * time.Minute
)

func createNamespaceCommand() *cli.Command {
	return &cli.Command{
		Name: "create-namespace",
		Usage: "Create a namespace unless there is one of that name, and wait until the frontend serves it; with the configuration, and so " +
			"the TLS, of start",
		ArgsUsage: "NAME",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name:    "address",
				Usage:   "host:port of the frontend; that of this host unless given",
				EnvVars: []string{"TEMPORAL_ADDRESS"},
			},
			&cli.DurationFlag{
				Name:  "retention",
				Value: defaultRetention,
				Usage: "how long closed workflows are kept, at least 24h",
			},
			bindOnHostnameFlag(),
			&cli.DurationFlag{
				Name:  "timeout",
				Value: defaultNamespaceTimeout,
				Usage: "how long to wait for the frontend",
			},
		},
		Before: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return cli.Exit(fmt.Sprintf("create-namespace takes the name of one namespace, after its flags, but got %d arguments", c.NArg()), 1)
			}
			return checkConfigFlags(c)
		},
		Action: createNamespace,
	}
}

func createNamespace(c *cli.Context) error {
	stdlog.SetOutput(io.Discard) // upstream's loader of the configuration writes what it reads
	cfg, err := loadServerConfig(c)
	if err != nil {
		return err
	}
	name, address := c.Args().First(), c.String("address")
	if address == "" {
		frontend, ok := cfg.Services[string(primitives.FrontendService)]
		if !ok {
			return cli.Exit("The configuration has no frontend: give its --address.", 1)
		}
		if address, err = localAddress(&frontend.RPC); err != nil {
			return cli.Exit(err, 1)
		}
	}
	connection, err := dial(cfg, string(primitives.FrontendService), address)
	if err != nil {
		return cli.Exit(fmt.Errorf("%s: %w", address, err), 1)
	}
	defer func() { _ = connection.Close() }()
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	frontend := workflowservice.NewWorkflowServiceClient(connection)

	err = await(ctx, codes.Unavailable, func() error {
		_, err := frontend.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace:                        name,
			WorkflowExecutionRetentionPeriod: durationpb.New(c.Duration("retention")),
		})
		return err
	})
	what := "created"
	if status.Code(err) == codes.AlreadyExists {
		what, err = "exists", nil
	}
	if err != nil {
		return cli.Exit(fmt.Errorf("namespace %s at %s: %w", name, address, err), 1)
	}
	// The frontend reads new namespaces into its cache every few seconds.
	err = await(ctx, codes.NotFound, func() error {
		_, err := frontend.CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: name})
		return err
	})
	if err != nil {
		return cli.Exit(fmt.Errorf("namespace %s at %s %s, but the frontend does not serve it: %w", name, address, what, err), 1)
	}
	_, _ = fmt.Fprintf(c.App.Writer, "namespace %s: %s\n", name, what)
	return nil
}

// await repeats try while it fails with that code, until the context is done.
func await(ctx context.Context, code codes.Code, try func() error) error {
	for {
		err := try()
		if status.Code(err) != code {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
