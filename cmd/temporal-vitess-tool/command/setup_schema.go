package command

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"
	upstream "go.temporal.io/server/tools/common/schema"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
)

func setupSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:      "setup-schema",
		Aliases:   []string{"setup"},
		Usage:     "set up empty keyspaces at the newest schema version: VSchema, tables and version",
		ArgsUsage: " ",
		Flags: append(withOtherFlags(schemaFlags(), upstream.CLIOptSchemaFile, upstream.CLIOptSchemaName, upstream.CLIOptDisableVersioning, upstream.CLIOptOverwrite),
			&cli.StringFlag{Name: upstream.CLIOptVersion, Aliases: []string{"v"}, Hidden: true}),
		Before: func(c *cli.Context) error {
			if c.IsSet(upstream.CLIOptVersion) {
				return fmt.Errorf("--%s: setup-schema sets up the newest version at once, with nothing left for update-schema: leave the flag out", upstream.CLIOptVersion)
			}
			return noOtherFlags(c)
		},
		Action: setupSchema,
	}
}

func setupSchema(c *cli.Context) error {
	r, err := newSchemaRun(c)
	if err != nil {
		return err
	}
	if c.IsSet(flagEmit) {
		return r.emitSetup()
	}
	return r.connected(r.setUp)
}

func (r *schemaRun) setUp(store apply.Store) error {
	out := r.cli.App.Writer
	state, err := apply.Look(r.cli.Context, r.runner.Vitess, store, r.Keyspaces)
	if err != nil {
		return err
	}
	if state.Version() != "" {
		_, err := apply.Setup(state)
		if !errors.Is(err, apply.ErrSetUp) {
			return err
		}
		fmt.Fprintln(out, err)
		return r.mendVSchema(state)
	}
	if err := r.bring(store, state, apply.Setup); err != nil {
		return err
	}
	if !r.cli.Bool(flagDryRun) {
		fmt.Fprintf(out, "the %s store is set up at %s\n", store, store.Newest())
	}
	return nil
}

// mendVSchema gives back to a store that is set up at the newest version what vtgate has lost of its VSchema: tables that
// it no longer serves.
func (r *schemaRun) mendVSchema(state *apply.State) error {
	if state.Version() != state.Store.Newest() {
		return nil
	}
	lost, err := apply.VSchemaLost(r.cli.Context, r.runner.Vitess, state, r.Profile)
	if err != nil || !lost {
		return err
	}
	changes, err := apply.VSchemaChanges(r.cli.Context, r.runner.Vitess, state, r.Profile, r.changes())
	if err != nil {
		return err
	}
	if r.cli.Bool(flagDryRun) {
		r.printChanges(changes)
		return nil
	}
	return r.applyVSchema(changes)
}

// emitSetup needs no connection: a new set-up is the same everywhere.
func (r *schemaRun) emitSetup() error {
	for _, store := range r.stores {
		actions, err := apply.Setup(apply.New(store, r.Keyspaces))
		if err != nil {
			return err
		}
		if err := r.emitPackaged(store); err != nil {
			return err
		}
		if err := r.emitSQL(store, actions); err != nil {
			return err
		}
	}
	return nil
}
