// Command temporal-vitess-tool sets up, upgrades and checks the keyspaces of a Temporal cluster on Vitess. It takes the
// place of upstream's temporal-sql-tool, whose connection flags and environment variables it has.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc/grpclog"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
)

func main() {
	// Vitess' client writes gRPC's own log to stderr, among what the tool prints. Errors reach the commands anyway.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command.New().RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-vitess-tool:", err)
		os.Exit(1)
	}
}
