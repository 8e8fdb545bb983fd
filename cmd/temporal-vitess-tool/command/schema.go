package command

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/temporal-vitess/temporal-vitess/schema/apply"
	"github.com/temporal-vitess/temporal-vitess/vschema"
	"github.com/temporal-vitess/temporal-vitess/vschema/live"
)

const (
	flagStore       = "store"
	flagEmit        = "emit"
	flagDDLStrategy = "ddl-strategy"
)

// schemaFlags are those that setup-schema and update-schema have in common.
func schemaFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagStore, Value: "all", Usage: "main, visibility or all"},
		&cli.BoolFlag{Name: flagDryRun, Aliases: []string{"y"}, Usage: "print what would run, with keyspace and Vitess shards, and change nothing"},
		&cli.StringFlag{Name: flagEmit, Usage: "folder to write the SQL and the VSchema of each keyspace into, instead of running them"},
		&cli.StringFlag{Name: flagDDLStrategy, Value: apply.DirectStrategy, Usage: "Vitess' @@ddl_strategy: direct, vitess or online, with its flags; the latter two wait for the migrations"},
	}
}

// schemaRun is one run of setup-schema or update-schema.
type schemaRun struct {
	*target
	cli    *cli.Context
	stores []apply.Store
	runner *apply.Runner
}

func newSchemaRun(c *cli.Context) (*schemaRun, error) {
	t, err := newTarget(c)
	if err != nil {
		return nil, err
	}
	if err := apply.CheckStrategy(c.String(flagDDLStrategy)); err != nil {
		return nil, fmt.Errorf("--%s: %w", flagDDLStrategy, err)
	}
	if c.Bool(flagDryRun) && c.IsSet(flagEmit) {
		return nil, fmt.Errorf("--%s and --%s exclude each other: neither changes anything", flagDryRun, flagEmit)
	}
	r := &schemaRun{target: t, cli: c, stores: apply.Stores()}
	if name := c.String(flagStore); name != "all" {
		r.stores = []apply.Store{apply.Store(name)}
		if !slices.Contains(apply.Stores(), r.stores[0]) {
			return nil, fmt.Errorf("--%s is %q, but has to be main, visibility or all", flagStore, name)
		}
	}
	return r, nil
}

// connect connects to Vitess. The caller closes.
func (r *schemaRun) connect() (*live.Vitess, error) {
	vitess, err := r.open(r.cli)
	if err != nil {
		return nil, err
	}
	progress := &progress{out: r.cli.App.ErrWriter, began: time.Now()}
	r.runner = &apply.Runner{
		Vitess:    vitess,
		Keyspaces: r.Keyspaces,
		Strategy:  r.cli.String(flagDDLStrategy),
		Progress:  progress.action,
		Wait:      progress.migration,
	}
	return vitess, nil
}

// bring does to one store what plan says: prints it, writes it into files, or runs it. A plan that is refused leaves the
// VSchema as it is.
func (r *schemaRun) bring(store apply.Store, state *apply.State, plan func(*apply.State) ([]apply.Action, error)) error {
	changes, err := apply.VSchemaChanges(r.cli.Context, r.runner.Vitess, state, r.Profile)
	if err != nil {
		return err
	}
	actions, err := plan(state)
	if err != nil {
		return err
	}
	out := r.cli.App.Writer
	switch {
	case r.cli.Bool(flagDryRun):
		for _, change := range changes {
			fmt.Fprintf(out, "VSchema of ")
			printDifferences(r.cli, change)
		}
		printPlan(out, store, actions)
		return nil
	case r.cli.IsSet(flagEmit):
		for _, change := range changes {
			if err := emitVSchema(r.cli, r.cli.String(flagEmit), r.runner.Vitess, change); err != nil {
				return err
			}
		}
		return r.emitSQL(store, actions)
	}
	for _, change := range changes {
		if err := r.runner.Vitess.ApplyVSchema(r.cli.Context, change.Keyspace, change.Live, change.Target); err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.ErrWriter, "VSchema of keyspace %s: applied, and served by vtgate\n", change.Keyspace)
	}
	if err := r.runner.Run(r.cli.Context, store, plan); err != nil {
		if r.cli.Context.Err() != nil {
			return fmt.Errorf("%w\ninterrupted: the same command goes on from there", err)
		}
		return err
	}
	return nil
}

func printPlan(out io.Writer, store apply.Store, actions []apply.Action) {
	if len(actions) == 0 {
		fmt.Fprintf(out, "%s: nothing to do\n", store)
	}
	for _, action := range actions {
		where := "all Vitess shards"
		if action.VitessShards != nil {
			where = "only Vitess shards " + strings.Join(action.VitessShards, ", ")
		}
		if !action.DDL {
			where = "the Vitess shard of the row"
		}
		fmt.Fprintf(out, "%s: %s, keyspace %s, %s\n  %s\n", action.Step, action.Title, action.Keyspace, where, strings.ReplaceAll(action.SQL, "\n", "\n  "))
	}
}

// emitSQL writes <keyspace>.sql of a store's keyspaces.
func (r *schemaRun) emitSQL(store apply.Store, actions []apply.Action) error {
	folder := r.cli.String(flagEmit)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, role := range store.Roles() {
		name := r.Keyspaces[role]
		var text strings.Builder
		statements, step := 0, ""
		for _, action := range actions {
			if action.Role != role {
				continue
			}
			if action.VitessShards != nil {
				return fmt.Errorf("the Vitess shards of keyspace %s differ, so that no file is right for all of them (%s lack %q): run this command without --%s, or bring them to the same schema first",
					name, strings.Join(action.VitessShards, ", "), action.SQL, flagEmit)
			}
			if action.Step != step {
				step = action.Step
				fmt.Fprintf(&text, "-- %s\n\n", step)
			}
			fmt.Fprintf(&text, "%s;\n\n", action.SQL)
			statements++
		}
		path := filepath.Join(folder, name+".sql")
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.Writer, "%s: %d statements\n", path, statements)
	}
	return nil
}

// emitPackaged writes <keyspace>.vschema.json of a store's keyspaces, as new ones have it.
func (r *schemaRun) emitPackaged(store apply.Store) error {
	folder := r.cli.String(flagEmit)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, role := range store.Roles() {
		placement, err := vschema.JSON(role, r.Profile)
		if err != nil {
			return err
		}
		path := filepath.Join(folder, r.Keyspaces[role]+".vschema.json")
		if err := os.WriteFile(path, placement, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.Writer, "%s: for vtctldclient ApplyVSchema --vschema-file\n", path)
	}
	return nil
}

// progress prints what is going on: each step, and within one a line every few seconds.
type progress struct {
	out   io.Writer
	began time.Time
	last  time.Time
	step  string
	done  int
}

func (p *progress) action(action apply.Action, left int) {
	if action.Step != p.step || time.Since(p.last) >= progressEvery {
		fmt.Fprintf(p.out, "%s: %s (%d more to go%s)\n", action.Step, action.Title, left, p.remaining(left))
		p.step, p.last = action.Step, time.Now()
	}
	p.done++
}

// remaining estimates from what has been done so far.
func (p *progress) remaining(left int) string {
	if p.done == 0 || left == 0 {
		return ""
	}
	each := time.Since(p.began) / time.Duration(p.done)
	return ", about " + (each * time.Duration(left)).Round(time.Second).String()
}

func (p *progress) migration(m apply.Migration) {
	if time.Since(p.last) < progressEvery {
		return
	}
	left := ""
	if m.Left >= 0 {
		left = ", about " + m.Left.String()
	}
	fmt.Fprintf(p.out, "  migration %s of table %s on %s/%s: %s, %.0f %%%s\n", m.UUID, m.Table, m.Keyspace, m.VitessShard, m.Status, m.Progress, left)
	p.last = time.Now()
}
