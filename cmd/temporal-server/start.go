package main

import (
	"fmt"
	stdlog "log"
	"net"
	"path"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/build"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/debug"
	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/temporal"
)

func startCommand() *cli.Command {
	return &cli.Command{
		Name:      "start",
		Usage:     "Start Temporal server",
		ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name:    "services",
				Aliases: []string{"s"},
				Usage:   "comma separated list of services to start. Deprecated",
				Hidden:  true,
			},
			&cli.StringSliceFlag{
				Name:    "service",
				Aliases: []string{"svc"},
				Value:   cli.NewStringSlice(temporal.DefaultServices...),
				Usage:   "service(s) to start",
				EnvVars: []string{"TEMPORAL_SERVICES"},
			},
			bindOnHostnameFlag(),
		},
		Before: checkStartArguments,
		Action: start,
	}
}

func checkStartArguments(c *cli.Context) error {
	if c.Args().Len() > 0 {
		return cli.Exit("ERROR: start command doesn't support arguments. Use --service flag instead.", 1)
	}
	return checkConfigFlags(c)
}

func checkConfigFlags(c *cli.Context) error {
	if c.IsSet("config-file") && (c.IsSet("config") || c.IsSet("env") || c.IsSet("zone") || c.IsSet("root")) {
		return cli.Exit("ERROR: can not use --config, --env, --zone, or --root with --config-file", 1)
	}
	return nil
}

// start repeats the action of upstream's start command. It always returns an error, as upstream does: the last one
// says that all services are stopped and carries exit code 0.
func start(c *cli.Context) error {
	services := c.StringSlice("service")
	allowNoAuth := c.Bool("allow-no-auth")

	// For backward compatibility to support old flag format (i.e. `--services=frontend,history,matching`).
	if c.IsSet("services") {
		stdlog.Println("WARNING: --services flag is deprecated. Specify multiply --service flags instead.")
		services = strings.Split(c.String("services"), ",")
	}

	cfg, err := loadServerConfig(c)
	if err != nil {
		return err
	}

	logger := log.NewZapLogger(log.BuildZapLogger(cfg.Log))
	logger.Info("Build info.",
		tag.Time("git-time", build.InfoData.GitTime),
		tag.String("git-revision", build.InfoData.GitRevision),
		tag.Bool("git-modified", build.InfoData.GitModified),
		tag.String("go-arch", build.InfoData.GoArch),
		tag.String("go-os", build.InfoData.GoOs),
		tag.String("go-version", build.InfoData.GoVersion),
		tag.Bool("cgo-enabled", build.InfoData.CgoEnabled),
		tag.String("server-version", headers.ServerVersion),
		tag.Bool("debug-mode", debug.Enabled),
	)

	authorizer, err := authorization.GetAuthorizerFromConfig(&cfg.Global.Authorization)
	if err != nil {
		return cli.Exit(fmt.Sprintf("Unable to instantiate authorizer. Error: %v", err), 1)
	}
	if authorization.IsNoopAuthorizer(authorizer) && !allowNoAuth {
		logger.Warn(
			"Not using any authorizer and flag `--allow-no-auth` not detected. " +
				"Future versions will require using the flag `--allow-no-auth` " +
				"if you do not want to set an authorizer.",
		)
	}

	// Authorization mappers: claim and audience
	claimMapper, err := authorization.GetClaimMapperFromConfig(&cfg.Global.Authorization, logger)
	if err != nil {
		return cli.Exit(fmt.Sprintf("Unable to instantiate claim mapper: %v.", err), 1)
	}

	audienceMapper, err := authorization.GetAudienceMapperFromConfig(&cfg.Global.Authorization)
	if err != nil {
		return cli.Exit(fmt.Sprintf("Unable to instantiate audience mapper: %v.", err), 1)
	}

	s, err := temporal.NewServer(
		temporal.ForServices(services),
		temporal.WithConfig(cfg),
		temporal.WithLogger(logger),
		temporal.InterruptOn(temporal.InterruptCh()),
		temporal.WithAuthorizer(authorizer),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return claimMapper
		}),
		temporal.WithAudienceGetter(func(*config.Config) authorization.JWTAudienceMapper {
			return audienceMapper
		}),
	)
	if err != nil {
		return cli.Exit(fmt.Sprintf("Unable to create server. Error: %v.", err), 1)
	}

	if err := s.Start(); err != nil {
		return cli.Exit(fmt.Sprintf("Unable to start server. Error: %v", err), 1)
	}
	return cli.Exit("All services are stopped.", 0)
}

// bindOnHostnameFlag is for start, and for what asks a server that it started.
func bindOnHostnameFlag() cli.Flag {
	return &cli.BoolFlag{
		Name:  "bind-on-hostname",
		Usage: "unless BIND_ON_IP is set, bind on the IP address of this host's name (for containers)",
	}
}

// loadServerConfig loads the configuration that start has with the same flags and environment.
func loadServerConfig(c *cli.Context) (*config.Config, error) {
	if c.Bool("bind-on-hostname") {
		if err := bindOnHostname(net.LookupHost); err != nil {
			return nil, cli.Exit(fmt.Sprintf("Unable to find an address to bind on: %v.", err), 1)
		}
	}
	cfg, err := loadConfig(c, path.Join(c.String("root"), c.String("config")), func() (*config.Config, error) {
		return config.Load(config.WithEmbedded())
	})
	if err != nil {
		return nil, cli.Exit(fmt.Sprintf("Unable to load configuration: %v.", err), 1)
	}
	return cfg, nil
}
