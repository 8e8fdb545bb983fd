// Command temporal-vitess-tool sets up, upgrades and checks the keyspaces of a Temporal cluster on Vitess. It takes the
// place of upstream's temporal-sql-tool, whose connection flags and environment variables it has.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newApp().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-vitess-tool:", err)
		os.Exit(1)
	}
}

func newApp() *cli.App {
	return &cli.App{
		Name:  "temporal-vitess-tool",
		Usage: "set up, upgrade and check Temporal's keyspaces on Vitess",
		Flags: targetFlags(),
		Commands: []*cli.Command{
			setupSchemaCommand(),
		},
		// An error goes to main, which prints it and sets the exit code.
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
