package apply

import (
	"context"
	"fmt"
	"slices"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// VSchemaLost reports whether the VSchema of a store's keyspaces lacks a table or all of them, or vtgate does not serve it.
func VSchemaLost(ctx context.Context, vitess *live.Vitess, state *State, profile vschema.Profile) (bool, error) {
	changes, err := compareVSchema(ctx, vitess, state, profile)
	return slices.ContainsFunc(changes, func(change *live.VSchemaChange) bool {
		return slices.ContainsFunc(change.Differences, func(d compare.Difference) bool {
			return d.Kind == compare.NotServed || d.Kind == compare.NotSharded || d.Kind == compare.MissingTable
		})
	}), err
}

// compareVSchema compares the VSchema of each of a store's keyspaces with what it needs, for whichever store.
func compareVSchema(ctx context.Context, vitess *live.Vitess, state *State, profile vschema.Profile) ([]*live.VSchemaChange, error) {
	if vitess.PlainMySQL {
		return nil, nil
	}
	var changes []*live.VSchemaChange
	for _, keyspace := range state.keyspaces() {
		change, err := vitess.CompareVSchema(ctx, keyspace, vschema.RolesIn(state.Keyspaces, keyspace), live.VSchemaOptions{Profile: profile})
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// VSchemaChanges returns what the VSchema of a store's keyspaces lacks: it has to have a table before vtgate can insert
// into it. It fails where a keyspace is sharded and should not be, or the other way round, and where rows would have
// to move. Before changes that will be made, vtgate has to take up what the topology has (see live.Vitess.Current).
func VSchemaChanges(ctx context.Context, vitess *live.Vitess, state *State, profile vschema.Profile, willBeMade bool) ([]*live.VSchemaChange, error) {
	all, err := compareVSchema(ctx, vitess, state, profile)
	if err != nil {
		return nil, err
	}
	var changes []*live.VSchemaChange
	for _, change := range all {
		if willBeMade {
			if change, err = vitess.Current(ctx, change); err != nil {
				return nil, err
			}
		}
		if err := vitess.CheckVSchema(ctx, change); err != nil {
			return nil, err
		}
		for _, d := range change.Differences {
			if d.MovesRows() {
				return nil, fmt.Errorf("VSchema of keyspace %s: %s: look at temporal-vitess-tool vschema diff, then mend it with vschema apply", change.Keyspace, d)
			}
			if d.Kind == compare.NotSharded && !state.Empty() {
				return nil, fmt.Errorf("keyspace %s is unsharded in its VSchema, but holds tables that have to be sharded: name a sharded keyspace (--keyspace, --visibility-keyspace), or apply the VSchema with temporal-vitess-tool vschema apply", change.Keyspace)
			}
		}
		if !change.Nothing() {
			changes = append(changes, change)
		}
	}
	return changes, nil
}
