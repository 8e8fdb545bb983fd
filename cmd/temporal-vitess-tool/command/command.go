// Package command is the command line of temporal-vitess-tool: flags, and what is printed. What the commands do is in
// the packages below schema and vschema.
package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// New returns the tool. It prints what a command yields to the app's Writer and what it is about to ErrWriter, and
// returns errors; it never ends the program.
func New() *cli.App {
	return &cli.App{
		Name:  "temporal-vitess-tool",
		Usage: "set up, upgrade and check Temporal's keyspaces on Vitess",
		Flags: targetFlags(),
		Commands: []*cli.Command{
			setupSchemaCommand(),
			updateSchemaCommand(),
			vschemaCommand(),
			routingPlanCommand(),
			balanceCommand(),
			doctorCommand(),
			rehashTaskQueuesCommand(),
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
