// Command demo shows Temporal on a sharded Vitess: it starts a local Vitess with four Vitess shards a keyspace, sets the
// keyspaces up with temporal-vitess-tool, starts the real Temporal server on them and a worker, runs workflows of many
// kinds, and tells where their rows are and how the statements went there. Then it stays up for you to try, until Ctrl-C.
//
// With DEMO_EXIT=1 it exits instead. The exit code is not zero if anything is not as it must be.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	vitessShards  = 4
	historyShards = 32
	namespace     = "demo"
	taskQueue     = "demo"
	runsPerKind   = 15
	sideBySide    = 40
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		what := "failed"
		if ctx.Err() != nil {
			what = "was interrupted"
		}
		fmt.Fprintf(os.Stderr, "\nThe demo %s: %v\n", what, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	log, err := os.CreateTemp("", "temporal-vitess-demo-*.log")
	if err != nil {
		return err
	}
	defer func() {
		log.Close()
		if err == nil {
			err = os.Remove(log.Name())
		}
	}()
	fmt.Printf("Temporal on a sharded Vitess. What the programs log is in %s\n\n", log.Name())

	began := step("A local Vitess with three empty keyspaces, %d Vitess shards for each sharded one", vitessShards)
	vitess, err := testbed.StartEmpty(ctx, vitessShards, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vitess.Stop()) }()
	done(began)

	if err := tool(ctx, vitess, os.Stdout, "setup-schema"); err != nil {
		return err
	}
	if err := vitess.SetUpByTool(ctx); err != nil {
		return err
	}
	fmt.Println()

	began = step("The Temporal server with %d history shards, and a namespace", historyShards)
	temporalServer, err := server.Start(ctx, server.Config{
		Main:          vitess.MainConfig(),
		Visibility:    vitess.VisibilityConfig(vschema.ProfileNamespace),
		HistoryShards: historyShards,
		FrontendPort:  usualPort(),
		Log:           log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temporalServer.Stop()) }()
	if err := temporalServer.CreateNamespace(ctx, namespace); err != nil {
		return err
	}
	done(began)

	c, err := temporalServer.Dial(namespace)
	if err != nil {
		return err
	}
	defer c.Close()
	target := kinds.Target{Client: c, Namespace: namespace, TaskQueue: taskQueue}
	w := kinds.NewWorker(target)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	if err := runWorkflows(ctx, target); err != nil {
		return err
	}
	if err := report(ctx, vitess, temporalServer); err != nil {
		return err
	}
	if err := examine(ctx, vitess); err != nil {
		return err
	}
	if os.Getenv("DEMO_EXIT") == "1" {
		return nil
	}
	invite(temporalServer.FrontendAddr())
	<-ctx.Done()
	fmt.Println("\nStopping.")
	return nil
}

// tool shows a command of temporal-vitess-tool as one would type it, and runs it.
func tool(ctx context.Context, vitess *testbed.Testbed, output io.Writer, arguments ...string) error {
	host, port, err := net.SplitHostPort(vitess.VTGateAddr())
	if err != nil {
		return err
	}
	arguments = append([]string{"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", "temporal", "--vtctld", vitess.VTCtldAddr()}, arguments...)
	fmt.Printf("\n$ %s\n", strings.Join(arguments, " "))
	app := command.New()
	app.Writer = output
	if err := app.RunContext(ctx, arguments); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(arguments, " "), err)
	}
	return nil
}

// examine returns an error unless all checks of the tool's doctor pass.
func examine(ctx context.Context, vitess *testbed.Testbed) error {
	var output bytes.Buffer
	// A local Vitess has no replicas.
	if err := tool(ctx, vitess, &output, "doctor", "--vtgate-http", vitess.HTTPAddr(), "--replicas", "0", "--output", "json"); err != nil {
		return err
	}
	var findings []doctor.Finding
	if err := json.Unmarshal(output.Bytes(), &findings); err != nil {
		return fmt.Errorf("what doctor printed: %w", err)
	}
	for _, finding := range findings {
		if finding.Status != doctor.Pass {
			return fmt.Errorf("doctor: %s: %s: %s", finding.Status, finding.Check, finding.Found[0].Text)
		}
	}
	fmt.Printf("All %d checks pass.\n\n", len(findings))
	return nil
}

// usualPort returns the frontend's usual port if nobody listens there, and 0 otherwise.
func usualPort() int {
	const port = 7233
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0
	}
	if listener.Close() != nil {
		return 0
	}
	return port
}

// runWorkflows returns when all workflows have ended and visibility shows every one as it ended.
func runWorkflows(ctx context.Context, target kinds.Target) error {
	began := step("%d workflows of %d kinds", len(kinds.All())*runsPerKind, len(kinds.All()))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	want := map[kinds.Closed]int{}
	for number := range runsPerKind {
		for _, kind := range kinds.All() {
			group.Go(func() error { return kind.Run(groupCtx, target, number) })
			for closed, count := range kind.Leaves {
				want[closed] += count
			}
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	done(began)

	began = step("Visibility shows all of them closed")
	if err := kinds.AwaitVisible(ctx, target, want); err != nil {
		return err
	}
	done(began)
	printVisibility(want)
	return nil
}

// step tells what is going on; done how long it took.
func step(format string, args ...any) time.Time {
	fmt.Printf(format+" ... ", args...)
	return time.Now()
}

func done(began time.Time) {
	fmt.Printf("%.1f s\n", time.Since(began).Seconds())
}

func invite(frontend string) {
	fmt.Printf(`
All is as it must be. The frontend listens at %[1]s until Ctrl-C; with the temporal CLI
(https://docs.temporal.io/cli), try

  temporal workflow list --address %[1]s --namespace %[2]s
  temporal workflow start --address %[1]s --namespace %[2]s --task-queue %[3]s --type children
`, frontend, namespace, taskQueue)
}
