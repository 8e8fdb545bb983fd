package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
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
	// written are the files that have been written: two stores may have one keyspace.
	written map[string]bool
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
	r := &schemaRun{target: t, cli: c, stores: apply.Stores(), written: map[string]bool{}}
	if name := c.String(flagStore); name != "all" {
		r.stores = []apply.Store{apply.Store(name)}
		if !slices.Contains(apply.Stores(), r.stores[0]) {
			return nil, fmt.Errorf("--%s is %q, but has to be main, visibility or all", flagStore, name)
		}
	}
	return r, nil
}

// connected connects, and calls do for each store: in turn with other runs, unless this one changes nothing.
func (r *schemaRun) connected(do func(apply.Store) error) error {
	vitess, err := r.openServer(r.cli)
	if err != nil {
		return err
	}
	defer vitess.Close()
	if strategy := r.cli.String(flagDDLStrategy); vitess.PlainMySQL && strategy != apply.DirectStrategy {
		return fmt.Errorf("--%s %s is Vitess': a MySQL server answers, not a vtgate", flagDDLStrategy, strategy)
	}
	progress := &progress{out: r.cli.App.ErrWriter, began: time.Now()}
	r.runner = &apply.Runner{
		Vitess:    vitess,
		Keyspaces: r.Keyspaces,
		Strategy:  r.cli.String(flagDDLStrategy),
		Progress:  progress.action,
		Wait:      progress.migration,
	}
	each := func() error {
		for _, store := range r.stores {
			if err := do(store); err != nil {
				return err
			}
		}
		return nil
	}
	if !r.changes() {
		return each()
	}
	return inTurn(r.cli, vitess, each)
}

// tellKept says what online DDL leaves behind that an operator may stumble over.
func (r *schemaRun) tellKept(store apply.Store) error {
	for _, role := range store.Roles() {
		keyspace := r.Keyspaces[role]
		kept, err := r.runner.Kept(r.cli.Context, keyspace)
		if err != nil {
			return err
		}
		if len(kept) == 0 {
			continue
		}
		fmt.Fprintf(r.cli.App.Writer, "keyspace %s: Vitess keeps what its migrations copied with for a day (vttablet's --retain-online-ddl-tables), and so long a Reshard of this keyspace fails when it switches; to end that earlier:\n", keyspace)
		for _, uuid := range kept {
			fmt.Fprintf(r.cli.App.Writer, "  ALTER VITESS_MIGRATION '%s' CLEANUP\n", uuid)
		}
	}
	return nil
}

// changes reports whether the run changes anything.
func (r *schemaRun) changes() bool { return !r.cli.Bool(flagDryRun) && !r.cli.IsSet(flagEmit) }

// bring does to one store what plan says: prints it, writes it into files, or runs it. A plan that is refused leaves the
// VSchema as it is.
func (r *schemaRun) bring(store apply.Store, state *apply.State, plan func(*apply.State) ([]apply.Action, error)) error {
	changes, err := apply.VSchemaChanges(r.cli.Context, r.runner.Vitess, state, r.Profile, r.changes())
	if err != nil {
		return err
	}
	actions, err := plan(state)
	if err != nil {
		return err
	}
	switch {
	case r.cli.Bool(flagDryRun):
		r.printChanges(changes)
		r.printPlan(store, actions)
		return nil
	case r.cli.IsSet(flagEmit):
		for _, change := range changes {
			if err := emitVSchema(r.cli, r.cli.String(flagEmit), r.runner.Vitess, change); err != nil {
				return err
			}
		}
		return r.emitSQL(store, actions)
	}
	if err := r.applyVSchema(changes); err != nil {
		return err
	}
	if err := r.runner.Run(r.cli.Context, store, plan); err != nil {
		if r.cli.Context.Err() != nil {
			return fmt.Errorf("%w\ninterrupted: the same command goes on from there", err)
		}
		return err
	}
	// Somebody else's change of any VSchema may have undone this one where vtgate reads it.
	if changes, err = apply.VSchemaChanges(r.cli.Context, r.runner.Vitess, state, r.Profile, true); err != nil {
		return err
	}
	if err := r.applyVSchema(changes); err != nil {
		return err
	}
	return r.tellKept(store)
}

func (r *schemaRun) applyVSchema(changes []*live.VSchemaChange) error {
	for _, change := range changes {
		if err := r.runner.Vitess.ApplyVSchema(r.cli.Context, change); err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.ErrWriter, "VSchema of keyspace %s: applied, and served by vtgate\n", change.Keyspace)
	}
	return nil
}

// inTurn calls do when no other run of the tool is at work that changes schema or VSchema.
func inTurn(c *cli.Context, vitess *live.Vitess, do func() error) error {
	end, err := vitess.TakeTurn(c.Context, func() {
		fmt.Fprintln(c.App.ErrWriter, "another run of temporal-vitess-tool changes schema or VSchema: waiting for its end")
	})
	switch {
	case err == nil:
		defer end()
	case c.Context.Err() != nil:
		return err
	default:
		fmt.Fprintf(c.App.ErrWriter, "it cannot be seen whether another run of temporal-vitess-tool is at work (%v): let one end before the next begins\n", err)
	}
	return do()
}

func (r *schemaRun) printChanges(changes []*live.VSchemaChange) {
	for _, change := range changes {
		fmt.Fprintf(r.cli.App.Writer, "VSchema of ")
		printDifferences(r.cli, change)
	}
}

func (r *schemaRun) printPlan(store apply.Store, actions []apply.Action) {
	out := r.cli.App.Writer
	if len(actions) == 0 {
		fmt.Fprintf(out, "%s: nothing to do\n", store)
	}
	for _, action := range actions {
		where := "keyspace " + action.Keyspace + ", all Vitess shards"
		switch {
		case r.runner.Vitess.PlainMySQL:
			where = "database " + action.Keyspace
		case !action.DDL:
			where = "keyspace " + action.Keyspace + ", the Vitess shard of the row"
		case action.VitessShards != nil:
			where = "keyspace " + action.Keyspace + ", only Vitess shards " + strings.Join(action.VitessShards, ", ")
		}
		fmt.Fprintf(out, "%s: %s, %s\n  %s\n", action.Step, action.Title, where, strings.ReplaceAll(action.SQL, "\n", "\n  "))
	}
}

// emitSQL writes <keyspace>.sql of a store's keyspaces.
func (r *schemaRun) emitSQL(store apply.Store, actions []apply.Action) error {
	folder := r.cli.String(flagEmit)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range store.Keyspaces(r.Keyspaces) {
		var text strings.Builder
		statements, step := 0, ""
		for _, action := range actions {
			if action.Keyspace != name {
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
		more, err := r.write(path, text.String())
		if err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.Writer, "%s: %d statements%s\n", path, statements, more)
	}
	return nil
}

// write writes a file, or appends to one that this run has written, and returns " more" then.
func (r *schemaRun) write(path, text string) (string, error) {
	if !r.written[path] {
		r.written[path] = true
		return "", os.WriteFile(path, []byte(text), 0o644)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(text)
	return " more", errors.Join(err, file.Close())
}

// emitPackaged writes <keyspace>.vschema.json of a store's keyspaces, as new ones have it.
func (r *schemaRun) emitPackaged(store apply.Store) error {
	folder := r.cli.String(flagEmit)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range store.Keyspaces(r.Keyspaces) {
		path := filepath.Join(folder, name+".vschema.json")
		if r.written[path] {
			continue
		}
		placement, err := packaged(vschema.RolesIn(r.Keyspaces, name), r.Profile)
		if err != nil {
			return err
		}
		if _, err := r.write(path, string(placement)); err != nil {
			return err
		}
		fmt.Fprintf(r.cli.App.Writer, "%s: for vtctldclient ApplyVSchema --vschema-file\n", path)
	}
	return nil
}

// packaged is the VSchema of a new keyspace with these roles.
func packaged(roles []vschema.Role, profile vschema.Profile) ([]byte, error) {
	if len(roles) == 1 {
		return vschema.JSON(roles[0], profile)
	}
	wanted, err := compare.WantedOf(roles, profile, "")
	if err != nil {
		return nil, err
	}
	return vschemaJSON(wanted)
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
