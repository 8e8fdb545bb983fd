// Command temporal-server is a drop-in for Temporal's own server binary, with the "vitess" persistence plugin
// registered beside upstream's.
//
// Commands, flags, environment variables and defaults are those of upstream's cmd/server, which is package main and
// so has to be repeated here; main_test.go reads upstream's source and fails where this program lacks something of it.
// Differences:
//   - DB=vitess selects the plugin where upstream's embedded template knows cassandra, mysql8, postgres12,
//     postgres12_pgx and sqlite: see config/vitess.yaml.
//   - render-config also renders --config-file and DB=vitess.
//   - health asks the services of this host for their health, for images without a shell.
//   - start --bind-on-hostname does what the entrypoint script of upstream's image does.
//   - A failing command exits non-zero. Upstream's validate-dynamic-config exits 0 whatever it finds.
package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // embed tzdata as a fallback

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"      // needed to load mysql plugin
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/postgresql" // needed to load postgresql plugin
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"     // needed to load sqlite plugin

	_ "github.com/temporal-vitess/temporal-vitess/plugin" // needed to load vitess plugin
)

func main() {
	if err := newApp().Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// newApp repeats buildCLI of upstream's cmd/server/main.go.
func newApp() *cli.App {
	app := cli.NewApp()
	app.Name = "temporal"
	app.Usage = "Temporal server"
	app.Version = version()
	app.ArgsUsage = " "
	app.Flags = []cli.Flag{
		&cli.StringFlag{
			Name:    "root",
			Aliases: []string{"r"},
			Value:   ".",
			Usage:   "root directory of execution environment (deprecated)",
			EnvVars: []string{config.EnvKeyRoot},
		},
		&cli.StringFlag{
			Name:    "config",
			Aliases: []string{"c"},
			Value:   "config",
			Usage:   "config dir path relative to root (deprecated)",
			EnvVars: []string{config.EnvKeyConfigDir},
		},
		&cli.StringFlag{
			Name:    "env",
			Aliases: []string{"e"},
			Value:   "development",
			Usage:   "runtime environment (deprecated)",
			EnvVars: []string{config.EnvKeyEnvironment},
		},
		&cli.StringFlag{
			Name:    "zone",
			Aliases: []string{"az"},
			Usage:   "availability zone (deprecated)",
			EnvVars: []string{config.EnvKeyAvailabilityZone, config.EnvKeyAvailabilityZoneTypo},
		},
		&cli.StringFlag{
			Name:    "config-file",
			Usage:   "path to config file (absolute or relative to current working directory)",
			EnvVars: []string{config.EnvKeyConfigFile},
		},
		&cli.BoolFlag{
			Name:    "allow-no-auth",
			Usage:   "allow no authorizer",
			EnvVars: []string{config.EnvKeyAllowNoAuth},
		},
	}
	app.Commands = []*cli.Command{
		validateDynamicConfigCommand(),
		renderConfigCommand(),
		startCommand(),
		healthCommand(),
		createNamespaceCommand(),
	}
	return app
}
