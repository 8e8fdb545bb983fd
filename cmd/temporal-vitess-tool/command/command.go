// Package command is the command line of temporal-vitess-tool: flags, and what is printed. What the commands do is in
// the packages below schema and vschema.
package command

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
	upstream "go.temporal.io/server/tools/common/schema"
)

// Run runs the tool and returns the exit code of the program. Errors go to its standard error.
func Run(ctx context.Context, arguments []string, stderr io.Writer) int {
	app := New()
	quiet := false
	app.ExitErrHandler = func(c *cli.Context, _ error) { quiet = c.Bool(upstream.CLIOptQuiet) }
	err := app.RunContext(ctx, arguments)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "temporal-vitess-tool:", err)
	if quiet {
		return 0
	}
	return 1
}

// New returns the tool. It prints what a command yields to the app's Writer and what it is about to ErrWriter, and
// returns errors; it never ends the program.
func New() *cli.App {
	return &cli.App{
		Name:  "temporal-vitess-tool",
		Usage: "set up, upgrade and check Temporal's keyspaces on Vitess",
		Flags: append(targetFlags(), upstreamFlags()...),
		Commands: append([]*cli.Command{
			setupSchemaCommand(),
			updateSchemaCommand(),
			vschemaCommand(),
			routingPlanCommand(),
			balanceCommand(),
			doctorCommand(),
			rehashTaskQueuesCommand(),
			migrateCommand(),
		}, upstreamCommands()...),
		Before: checkPlugin,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return fmt.Errorf("there is no command %q: see temporal-vitess-tool help", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		ExitErrHandler: func(*cli.Context, error) {},
	}
}

// noArguments refuses what urfave/cli leaves over, such as a flag after an argument.
func noArguments(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%s takes no arguments, but got %q", c.Command.Name, c.Args().First())
	}
	return nil
}
