package live

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/schema"

	"github.com/temporal-vitess/temporal-vitess/vschema"
	"github.com/temporal-vitess/temporal-vitess/vschema/compare"
)

// VSchemaOptions say what a VSchema should be like.
type VSchemaOptions struct {
	Profile vschema.Profile
	// Function is the vindex function for history shards and task queues. Empty keeps the functions that the live VSchema
	// has, or else takes those of package vschema.
	Function string
	// DropUnknown removes what Temporal has no use for, which stays otherwise.
	DropUnknown bool
}

// VSchemaChange is what a keyspace's VSchema lacks, and what it would be.
type VSchemaChange struct {
	Keyspace     string
	Live, Target *vschemapb.Keyspace
	Differences  []compare.Difference
	wanted       *vschemapb.Keyspace
}

// CompareVSchema compares the live VSchema of a keyspace with what its role needs. It changes nothing.
func (v *Vitess) CompareVSchema(ctx context.Context, keyspace string, role vschema.Role, options VSchemaOptions) (*VSchemaChange, error) {
	wanted, err := compare.Wanted(role, options.Profile, options.Function)
	if err != nil {
		return nil, err
	}
	live, err := v.VSchema(ctx, keyspace)
	if err != nil {
		return nil, err
	}
	if options.Function == "" {
		wanted = compare.KeepFunctions(wanted, live)
	}
	target := compare.Merge(live, wanted)
	if options.DropUnknown {
		target = compare.DropUnknown(target, wanted)
	}
	return &VSchemaChange{Keyspace: keyspace, Live: live, Target: target, Differences: compare.Compare(live, wanted), wanted: wanted}, nil
}

// CheckVSchema returns an error if the change would lose rows, or vtgate would refuse it, with what to do instead.
func (v *Vitess) CheckVSchema(ctx context.Context, change *VSchemaChange) error {
	shards, err := v.VitessShards(ctx, change.Keyspace)
	if err != nil {
		return err
	}
	if !change.Target.Sharded && len(shards) > 1 {
		return fmt.Errorf("keyspace %s has %d Vitess shards, but its tables exist once per cluster: name one with a single Vitess shard (--global-keyspace)", change.Keyspace, len(shards))
	}
	var moving []string
	for _, d := range change.Differences {
		switch {
		case d.Kind == compare.Sharded:
			return fmt.Errorf("keyspace %s has a sharded VSchema, but its tables exist once per cluster: name an unsharded one (--global-keyspace)", change.Keyspace)
		case d.Kind == compare.NotSharded:
			moving = slices.Sorted(maps.Keys(change.wanted.Tables))
			others, err := v.withoutVindex(ctx, change, shards)
			if err != nil {
				return err
			}
			if len(others) > 0 {
				return fmt.Errorf("keyspace %s is unsharded and has tables of others, which would need vindexes to be sharded (%s): name a keyspace of Temporal's own, or add their vindexes first",
					change.Keyspace, strings.Join(others, ", "))
			}
		case d.MovesRows():
			moving = append(moving, d.Table)
		}
	}
	if len(shards) == 1 {
		return nil // all rows are where every vindex leads
	}
	for _, shard := range shards {
		err := v.On(ctx, change.Keyspace, shard, func(session *sql.Conn) error {
			for _, table := range moving {
				var one int
				switch err := session.QueryRowContext(ctx, "SELECT 1 FROM "+quote(table)+" LIMIT 1").Scan(&one); {
				case err == nil:
					return fmt.Errorf("table %s.%s has rows on Vitess shard %s, which vtgate would no longer find under another vindex: keep it (leave out --vindex-function), or set up a new keyspace and move the rows there (vtctldclient MoveTables)",
						change.Keyspace, table, shard)
				case err != sql.ErrNoRows && !refused(err, errnoNoSuchTable):
					return fmt.Errorf("table %s.%s on Vitess shard %s: %w", change.Keyspace, table, shard, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withoutVindex are the tables for which there would be no place in a sharded keyspace: in its VSchema, or on a Vitess
// shard only, since an unsharded keyspace serves tables that its VSchema does not name.
func (v *Vitess) withoutVindex(ctx context.Context, change *VSchemaChange, shards []string) ([]string, error) {
	names := make(map[string]bool)
	for name := range change.Target.Tables {
		names[name] = true
	}
	for _, shard := range shards {
		err := v.On(ctx, change.Keyspace, shard, func(session *sql.Conn) error {
			return each(ctx, session, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'", func(row []string) {
				if !schema.IsInternalOperationTableName(row[0]) {
					names[row[0]] = true
				}
			})
		})
		if err != nil {
			return nil, fmt.Errorf("tables of keyspace %s on Vitess shard %s: %w", change.Keyspace, shard, err)
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool {
		table := change.Target.Tables[name]
		return len(table.GetColumnVindexes()) > 0 || table.GetPinned() != "" || table.GetType() == "reference"
	})
	return slices.Sorted(maps.Keys(names)), nil
}

// Nothing reports whether there is nothing to change.
func (c *VSchemaChange) Nothing() bool { return proto.Equal(c.Live, c.Target) }
