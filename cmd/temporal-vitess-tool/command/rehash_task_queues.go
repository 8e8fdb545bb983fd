package command

import (
	"database/sql"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/rehash"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	flagBatchSize = "batch-size"
	flagDryRun    = "dry-run"
	flagWatch     = "watch"
	flagBack      = "back"
	flagReadBoth  = "servers-read-both"

	// progressEvery is how often long work prints a line.
	progressEvery = 3 * time.Second
)

func rehashTaskQueuesCommand() *cli.Command {
	return &cli.Command{
		Name:      "rehash-task-queues",
		Usage:     "move tasks of subqueues that upstream's plugin has written to where this plugin reads them",
		ArgsUsage: " ",
		Description: "Needs all matching services stopped, and looks whether they are; or all of them at\n" +
			"vitess_subqueue_tasks: vitess-read-both, which it cannot see. The keyspaces may be on Vitess, or a database\n" +
			"of a MySQL server (then --keyspace is the database). May be run at any time again: it goes on where it stopped.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: flagBatchSize, Value: 500, Usage: fmt.Sprintf("tasks to move at once, up to %d", rehash.MaxBatchSize)},
			&cli.DurationFlag{Name: flagWatch, Value: rehash.DefaultWatch, Usage: "how long no matching service may write a heartbeat before tasks move; shorter only if none can be running. With --" + flagReadBoth + ", how long no task may come to the old place after they have"},
			&cli.BoolFlag{Name: flagReadBoth, Usage: "matching services run, each with vitess_subqueue_tasks: vitess-read-both (with --" + flagBack + ", upstream-read-both); in an unsharded keyspace or a MySQL database only"},
			&cli.BoolFlag{Name: flagBack, Usage: "move tasks the other way, to where upstream's plugin reads them"},
			&cli.BoolFlag{Name: flagDryRun, Usage: "only count what there is to move; matching services may run"},
		},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			t, err := newTarget(c)
			if err != nil {
				return err
			}
			db, err := t.connect(c)
			if err != nil {
				return err
			}
			defer db.Close()
			r, err := rehash.New(c.Context, rehash.Config{
				DB:             db,
				Keyspace:       t.Keyspaces[vschema.Main],
				GlobalKeyspace: t.Keyspaces[vschema.Global],
				Store:          t.store(vschema.Main),
				BatchSize:      c.Int(flagBatchSize),
				Watch:          c.Duration(flagWatch),
				Progress:       printProgress(c.App.Writer),

				ServersReadBoth: c.Bool(flagReadBoth),
				Back:            c.Bool(flagBack),
			})
			if err != nil {
				return err
			}
			defer r.Close()
			if c.Bool(flagDryRun) {
				return countTasks(c, r)
			}
			if c.Bool(flagReadBoth) {
				if err := printMatching(c, r); err != nil {
					return err
				}
			}
			moved, err := r.Run(c.Context)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "%d tasks moved; all tasks are where %s reads them\n", moved, r.Reader())
			return nil
		},
	}
}

// connect connects to the server, which need not be a vtgate. The caller closes.
func (t *target) connect(c *cli.Context) (*sql.DB, error) {
	connector, err := plugin.NewConnector(&t.vtgate, resolver.NewNoopResolver())
	if err != nil {
		return nil, err
	}
	return live.Connect(c.Context, connector)
}

func countTasks(c *cli.Context, r *rehash.Rehash) error {
	counts, err := r.Counts(c.Context)
	if err != nil {
		return err
	}
	for _, count := range counts {
		fmt.Fprintf(c.App.Writer, "%s: %d tasks of %d subqueues to move\n", count.Table, count.Rows, count.Subqueues)
	}
	return printMatching(c, r)
}

// printMatching prints which matching services run, and what has to be done about them.
func printMatching(c *cli.Context, r *rehash.Rehash) error {
	running, err := r.Matching(c.Context)
	if err != nil || len(running) == 0 {
		return err
	}
	todo := "stop them first"
	if c.Bool(flagReadBoth) {
		todo = "each needs " + r.ReadsBoth()
	}
	fmt.Fprintf(c.App.Writer, "matching services run, %s: %s\n", todo, strings.Join(running, ", "))
	return nil
}

// printProgress prints the first progress, and then a line now and then.
func printProgress(out io.Writer) func(rehash.Progress) {
	var printed time.Time
	return func(p rehash.Progress) {
		if time.Since(printed) < progressEvery {
			return
		}
		printed = time.Now()
		fmt.Fprintf(out, "%d of %d tasks moved, %v left\n", p.Moved, p.Total, p.Left.Round(time.Second))
	}
}
