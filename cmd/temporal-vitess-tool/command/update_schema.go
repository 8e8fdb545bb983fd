package command

import (
	"fmt"

	"github.com/urfave/cli/v2"
	upstream "go.temporal.io/server/tools/common/schema"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
)

const (
	flagVersion     = "version"
	flagFromVersion = "from-version"
	flagKeepColumns = "keep-columns"
)

func updateSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:      "update-schema",
		Aliases:   []string{"update"},
		Usage:     "bring keyspaces from their schema version to a newer one",
		ArgsUsage: " ",
		Flags: append(withOtherFlags(schemaFlags(), upstream.CLIOptSchemaDir, upstream.CLIOptSchemaName),
			&cli.StringFlag{Name: flagVersion, Aliases: []string{"v"}, Usage: "version to stop at (default: the newest); needs --" + flagStore},
			&cli.StringFlag{Name: flagFromVersion, Usage: "with --" + flagEmit + ": version to start from, without a connection; needs --" + flagStore},
			&cli.BoolFlag{Name: flagKeepColumns, Usage: "at the newest version, leave columns (NOT NULL, defaults, order) as upstream's updates leave them: saves one rebuild of most tables"},
		),
		Before: noOtherFlags,
		Action: updateSchema,
	}
}

func updateSchema(c *cli.Context) error {
	r, err := newSchemaRun(c)
	if err != nil {
		return err
	}
	for _, flag := range []string{flagVersion, flagFromVersion} {
		if c.IsSet(flag) && len(r.stores) > 1 {
			return fmt.Errorf("--%s needs --%s main or visibility: they have versions of their own", flag, flagStore)
		}
	}
	if c.IsSet(flagFromVersion) {
		if !c.IsSet(flagEmit) {
			return fmt.Errorf("--%s needs --%s: a run starts from the version that the keyspaces have", flagFromVersion, flagEmit)
		}
		return r.emitUpdate(r.stores[0])
	}
	return r.connected(r.update)
}

func (r *schemaRun) update(store apply.Store) error {
	to := r.cli.String(flagVersion)
	state, err := apply.Look(r.cli.Context, r.runner.Vitess, store, r.Keyspaces)
	if err != nil {
		return err
	}
	if err := apply.CheckUpdate(state, to); err != nil {
		return err
	}
	err = r.bring(store, state, func(state *apply.State) ([]apply.Action, error) {
		return apply.Update(state, to, r.cli.Bool(flagKeepColumns))
	})
	if err != nil || !r.changes() {
		return err
	}
	if to == "" {
		to = store.Newest()
	}
	fmt.Fprintf(r.cli.App.Writer, "the %s store is at %s\n", store, to)
	return nil
}

// emitUpdate writes the steps from a given version, without a look at tables that may differ from upstream's. It writes no
// VSchema: that of a new set-up would replace vindexes by which rows are stored, and entries of other applications.
func (r *schemaRun) emitUpdate(store apply.Store) error {
	actions, err := apply.UpdateFrom(store, r.Keyspaces, r.cli.String(flagFromVersion), r.cli.String(flagVersion))
	if err != nil {
		return err
	}
	if err := r.emitSQL(store, actions); err != nil {
		return err
	}
	fmt.Fprintln(r.cli.App.Writer, "VSchema: what it lacks depends on the live one: see temporal-vitess-tool vschema apply --emit")
	return nil
}
