package command

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/temporal-vitess/temporal-vitess/schema/apply"
)

func setupSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:      "setup-schema",
		Aliases:   []string{"setup"},
		Usage:     "set up empty keyspaces at the newest schema version: VSchema, tables and version",
		ArgsUsage: " ",
		Flags:     schemaFlags(),
		Before:    noArguments,
		Action:    setupSchema,
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
	vitess, err := r.connect()
	if err != nil {
		return err
	}
	defer vitess.Close()
	for _, store := range r.stores {
		state, err := apply.Look(c.Context, vitess, store, r.Keyspaces)
		if err != nil {
			return err
		}
		if state.Version() != "" {
			_, err := apply.Setup(state)
			if !errors.Is(err, apply.ErrSetUp) {
				return err
			}
			fmt.Fprintln(c.App.Writer, err)
			continue
		}
		if err := r.bring(store, state, apply.Setup); err != nil {
			return err
		}
		if !c.Bool(flagDryRun) {
			fmt.Fprintf(c.App.Writer, "the %s store is set up at %s\n", store, store.Newest())
		}
	}
	return nil
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
