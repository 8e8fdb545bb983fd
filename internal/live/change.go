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

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
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
	Keyspace string
	// Live is what the topology has; without vtctld, what vtgate serves.
	Live, Target *vschemapb.Keyspace
	// Differences are those of Live from what Temporal needs; with vtctld, also of what vtgate serves from Live.
	Differences []compare.Difference

	roles   []vschema.Role
	options VSchemaOptions
	wanted  *vschemapb.Keyspace
}

// CompareVSchema compares the live VSchema of a keyspace with what its roles need, and with vtctld what vtgate serves with
// the live one. It changes nothing.
func (v *Vitess) CompareVSchema(ctx context.Context, keyspace string, roles []vschema.Role, options VSchemaOptions) (*VSchemaChange, error) {
	wanted, err := compare.WantedOf(roles, options.Profile, options.Function)
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
	change := &VSchemaChange{
		Keyspace: keyspace, Live: live, Target: target, Differences: compare.Compare(live, wanted),
		roles: roles, options: options, wanted: wanted,
	}
	if v.VTCtld != nil {
		unserved, err := v.awaitServed(ctx, keyspace, live, serveSoon)
		if err != nil {
			return nil, err
		}
		change.Differences = append(unserved, change.Differences...)
	}
	return change, nil
}

// CheckVSchema returns an error if the change would lose rows, or vtgate would refuse it, with what to do instead.
func (v *Vitess) CheckVSchema(ctx context.Context, change *VSchemaChange) error {
	shards, err := v.VitessShards(ctx, change.Keyspace)
	if err != nil {
		return err
	}
	if !change.Target.Sharded && len(shards) > 1 && len(change.roles) > 1 {
		return fmt.Errorf("keyspace %s has %d Vitess shards, but is to hold all of %v, some of whose tables exist once per cluster: name one with a single Vitess shard, or several (--keyspace, --global-keyspace, --visibility-keyspace)",
			change.Keyspace, len(shards), change.roles)
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
				case err != sql.ErrNoRows && !Refused(err, ErrnoNoSuchTable):
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
			tables, err := Column(ctx, session, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")
			for _, table := range tables {
				if !schema.IsInternalOperationTableName(table) {
					names[table] = true
				}
			}
			return err
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

// Nothing reports whether there is nothing to change, and vtgate serves what there is.
func (c *VSchemaChange) Nothing() bool {
	return proto.Equal(c.Live, c.Target) && !slices.ContainsFunc(c.Differences, func(d compare.Difference) bool { return d.Kind == compare.NotServed })
}

// Current returns a change as it is now, for one who is about to make it: without vtctld, after vtgate has taken up what the
// topology has, which may be more than it served. A user without the right to that gets the change as it was.
func (v *Vitess) Current(ctx context.Context, change *VSchemaChange) (*VSchemaChange, error) {
	if v.VTCtld != nil || change.Nothing() {
		return change, nil
	}
	err := v.takeUp(ctx, change.Keyspace)
	if Refused(err, ErrnoAccessDenied) {
		return change, nil
	}
	if err != nil {
		return nil, fmt.Errorf("VSchema of keyspace %s: %w: if somebody else changes it now, run this again", change.Keyspace, err)
	}
	return v.CompareVSchema(ctx, change.Keyspace, change.roles, change.options)
}
