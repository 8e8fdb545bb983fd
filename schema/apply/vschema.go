package apply

import (
	"context"
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/vschema"
	"github.com/temporal-vitess/temporal-vitess/vschema/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema/live"
)

// VSchemaChanges returns what the VSchema of a store's keyspaces lacks: it has to have a table before vtgate can insert
// into it. It fails where a keyspace is sharded and should not be, or the other way round, and where rows would have
// to move.
func VSchemaChanges(ctx context.Context, vitess *live.Vitess, state *State, profile vschema.Profile) ([]*live.VSchemaChange, error) {
	var changes []*live.VSchemaChange
	for _, role := range state.Store.Roles() {
		keyspace := state.Keyspaces[role]
		change, err := vitess.CompareVSchema(ctx, keyspace, role, live.VSchemaOptions{Profile: profile})
		if err != nil {
			return nil, err
		}
		if err := vitess.CheckVSchema(ctx, change); err != nil {
			return nil, err
		}
		for _, d := range change.Differences {
			if d.MovesRows() {
				return nil, fmt.Errorf("VSchema of keyspace %s: %s: look at temporal-vitess-tool vschema diff, then mend it with vschema apply", keyspace, d)
			}
			if d.Kind == compare.NotSharded && !state.Empty() {
				return nil, fmt.Errorf("keyspace %s is unsharded in its VSchema, but holds tables that have to be sharded: name a sharded keyspace (--keyspace, --visibility-keyspace), or apply the VSchema with temporal-vitess-tool vschema apply", keyspace)
			}
		}
		if !change.Nothing() {
			changes = append(changes, change)
		}
	}
	return changes, nil
}
