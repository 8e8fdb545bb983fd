// Command temporal-vitess-tool sets up, upgrades and checks the keyspaces of a Temporal cluster on Vitess. It takes the
// place of upstream's temporal-sql-tool, whose connection flags and environment variables it has.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Run(ctx, os.Args, os.Stderr)
	stop()
	os.Exit(code)
}
