// Command demo shows Temporal on a sharded Vitess: it starts a local Vitess with four Vitess shards a keyspace, sets the
// keyspaces up with temporal-vitess-tool, starts the real Temporal server on them, its web UI and a worker, runs workflows
// of many kinds, and tells where their rows are and how the statements went there. Then it stays up for you to try, until
// Ctrl-C.
//
// With DEMO_EXIT=1 it exits instead. The exit code is not zero if anything is not as it must be.
//
// It is a module of its own, so that nobody who imports the plugin gets the web UI's.
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

	"go.temporal.io/sdk/client"
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
	host          = "127.0.0.1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stay := func(demo *running) error {
		invite(demo.frontend, demo.ui)
		<-ctx.Done()
		fmt.Println("\nStopping.")
		return nil
	}
	if os.Getenv("DEMO_EXIT") == "1" {
		stay = func(*running) error { return nil }
	}
	if err := run(ctx, stay); err != nil {
		what := "failed"
		if ctx.Err() != nil {
			what = "was interrupted"
		}
		fmt.Fprintf(os.Stderr, "\nThe demo %s: %v\n", what, err)
		os.Exit(1)
	}
}

// running is a demo that is up.
type running struct {
	client   client.Client
	frontend string // host:port
	ui       string // URL of the web UI
}

// run brings the demo up, shows that all is as it must be, and ends when then is done.
func run(ctx context.Context, then func(*running) error) (err error) {
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
		FrontendPort:  port(frontendPort),
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

	began = step("Temporal's web UI")
	ui, err := startUI(ctx, temporalServer.FrontendAddr(), port(uiPort))
	if err != nil {
		return err
	}
	defer ui.stop()
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
	if err := startMore(ctx, target); err != nil {
		return err
	}
	if err := report(ctx, vitess, temporalServer); err != nil {
		return err
	}
	if err := examine(ctx, vitess); err != nil {
		return err
	}
	return then(&running{client: c, frontend: temporalServer.FrontendAddr(), ui: ui.url})
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

// What people and their tools expect.
const (
	frontendPort = 7233
	uiPort       = 8080
)

// port returns the port that is usual, or 0 if somebody has it.
func port(usual int) int {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(usual)))
	if err != nil {
		return 0
	}
	if listener.Close() != nil {
		return 0
	}
	return usual
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

func invite(frontend, ui string) {
	fmt.Printf(`
All is as it must be. The web UI is at %[4]s, the frontend at %[1]s, until Ctrl-C.
With the temporal CLI (https://docs.temporal.io/cli), try

  temporal workflow list --address %[1]s --namespace %[2]s --query "%[5]s = 'vitess'"
  temporal workflow start --address %[1]s --namespace %[2]s --task-queue %[3]s --type children
`, frontend, namespace, taskQueue, ui, customer)
}
