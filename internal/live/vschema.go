package live

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/schema"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
)

// SeesWholeVSchema reports whether [Vitess.VSchema] returns all of a VSchema: with vtctld. What vtgate shows lacks table
// types (a sequence looks like a table without a vindex), sequences of columns, column lists and the settings of the
// keyspace; and in an unsharded keyspace it counts the tables that exist as in the VSchema.
func (v *Vitess) SeesWholeVSchema() bool { return v.VTCtld != nil }

// VSchema returns the VSchema of a keyspace, from vtctld or else as far as vtgate shows it; see
// [Vitess.SeesWholeVSchema]. A keyspace that does not exist is an error that lists those that do.
func (v *Vitess) VSchema(ctx context.Context, keyspace string) (*vschemapb.Keyspace, error) {
	if v.VTCtld == nil {
		return v.ServedVSchema(ctx, keyspace)
	}
	if _, err := v.VitessShards(ctx, keyspace); err != nil {
		return nil, err
	}
	response, err := v.VTCtld.GetVSchema(ctx, &vtctldatapb.GetVSchemaRequest{Keyspace: keyspace})
	if err != nil {
		if strings.Contains(err.Error(), "node doesn't exist") { // topo.NoNode, of which gRPC leaves the text
			return &vschemapb.Keyspace{}, nil
		}
		return nil, fmt.Errorf("VSchema of keyspace %s from vtctld: %w", keyspace, err)
	}
	return withoutMarker(response.VSchema), nil
}

// ServedVSchema returns the VSchema that vtgate plans with, as far as it shows it; see [Vitess.SeesWholeVSchema].
func (v *Vitess) ServedVSchema(ctx context.Context, keyspace string) (*vschemapb.Keyspace, error) {
	if _, err := v.VitessShards(ctx, keyspace); err != nil {
		return nil, err
	}
	served := &vschemapb.Keyspace{Vindexes: map[string]*vschemapb.Vindex{}, Tables: map[string]*vschemapb.Table{}}
	err := v.In(ctx, keyspace, func(session *sql.Conn) error {
		if err := show(ctx, session, "SHOW VSCHEMA KEYSPACES", func(row []string) {
			if row[0] == keyspace {
				served.Sharded = row[1] == "true"
			}
		}); err != nil {
			return err
		}
		if err := show(ctx, session, "SHOW VSCHEMA VINDEXES", func(row []string) {
			if row[0] == keyspace {
				served.Vindexes[row[1]] = &vschemapb.Vindex{Type: row[2], Params: params(row[3]), Owner: row[4]}
			}
		}); err != nil {
			return err
		}
		var tables []string
		if err := show(ctx, session, "SHOW VSCHEMA TABLES", func(row []string) {
			if row[0] != "dual" && !schema.IsInternalOperationTableName(row[0]) { // Vitess' own
				tables = append(tables, row[0])
			}
		}); err != nil {
			return err
		}
		for _, name := range tables {
			table := &vschemapb.Table{}
			err := show(ctx, session, "SHOW VSCHEMA VINDEXES ON "+quote(keyspace, name), func(row []string) {
				table.ColumnVindexes = append(table.ColumnVindexes, &vschemapb.ColumnVindex{Name: row[1], Columns: strings.Split(row[0], ", ")})
			})
			if Refused(err, ErrnoNoSuchTable) {
				continue // exists, but not in the VSchema of a sharded keyspace
			}
			if err != nil {
				return err
			}
			served.Tables[name] = table
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("VSchema of keyspace %s from vtgate: %w", keyspace, err)
	}
	return withoutMarker(served), nil
}

// show calls use with each row of a SHOW.
func show(ctx context.Context, session *sql.Conn, query string, use func(row []string)) error {
	if err := EachText(ctx, session, query, func(_, row []string) { use(row) }); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

// params reads vtgate's "name=value; name=value".
func params(text string) map[string]string {
	if text == "" {
		return nil
	}
	read := make(map[string]string)
	for param := range strings.SplitSeq(text, "; ") {
		name, value, _ := strings.Cut(param, "=")
		read[name] = value
	}
	return read
}

// ApplyVSchema makes a change, and returns when vtgate serves it. With vtctld that is one step, and an error if the VSchema
// is no longer the live one; without it one ALTER VSCHEMA for each difference, where an interruption leaves some of them
// to do. Where vtgate serves another VSchema than the topology has, it has it rebuilt.
func (v *Vitess) ApplyVSchema(ctx context.Context, change *VSchemaChange) error {
	var err error
	switch {
	case proto.Equal(change.Live, change.Target):
	case v.VTCtld != nil:
		err = v.replaceVSchema(ctx, change.Keyspace, change.Live, change.Target)
	default:
		err = v.alterVSchema(ctx, change.Keyspace, change.Live, change.Target)
	}
	if err != nil {
		return fmt.Errorf("VSchema of keyspace %s: %w", change.Keyspace, err)
	}
	return v.serve(ctx, change.Keyspace, change.Target)
}

// replaceVSchema makes the target the whole VSchema, unless somebody has changed it since it was live.
func (v *Vitess) replaceVSchema(ctx context.Context, keyspace string, live, target *vschemapb.Keyspace) error {
	now, err := v.VSchema(ctx, keyspace)
	if err != nil {
		return err
	}
	if !sameVSchema(now, live) {
		return errors.New("somebody has changed it meanwhile, so it stays as it is: run this again")
	}
	_, err = v.VTCtld.ApplyVSchema(ctx, &vtctldatapb.ApplyVSchemaRequest{Keyspace: keyspace, VSchema: target, Strict: true})
	return err
}

// sameVSchema reports whether two VSchemas are equal; none is an empty one.
func sameVSchema(a, b *vschemapb.Keyspace) bool {
	if proto.Size(a) == 0 || proto.Size(b) == 0 {
		return proto.Size(a) == proto.Size(b)
	}
	return proto.Equal(a, b)
}

func (v *Vitess) alterVSchema(ctx context.Context, keyspace string, live, target *vschemapb.Keyspace) error {
	statements, err := AlterStatements(keyspace, live, target)
	if err != nil {
		return err
	}
	// One session, so that one vtgate adds up the changes.
	return v.In(ctx, keyspace, func(session *sql.Conn) error {
		for i, statement := range statements {
			_, err := session.ExecContext(ctx, statement)
			if Refused(err, ErrnoAccessDenied) {
				return fmt.Errorf("%w: allow the user with vtgate's --vschema-ddl-authorized-users, or give --vtctld, or write files for somebody who may with --emit", err)
			}
			if err != nil {
				return fmt.Errorf("statement %d of %d, %s: %w: if somebody else changes it now, run this again", i+1, len(statements), statement, err)
			}
		}
		return nil
	})
}

// marker is a name that is in a VSchema for a moment, see takeUp.
const marker = "temporal_vitess_tool"

// withoutMarker takes the marker out of a VSchema.
func withoutMarker(keyspace *vschemapb.Keyspace) *vschemapb.Keyspace {
	delete(keyspace.Tables, marker)
	delete(keyspace.Vindexes, marker)
	return keyspace
}

// takeUp has vtgate serve what the topology has as the VSchema of a keyspace, without vtctld. Each ALTER VSCHEMA does, since
// it starts from the topology (topotools.ApplyVSchemaDDL); but none changes nothing. So one adds a name, and one takes it
// away again, as well as that of a run that did not get there: a table, or a vindex where the topology says sharded.
func (v *Vitess) takeUp(ctx context.Context, keyspace string) error {
	name := quote(keyspace, marker)
	return v.In(ctx, keyspace, func(session *sql.Conn) error {
		alter := func(statement string) error {
			_, err := session.ExecContext(ctx, "ALTER VSCHEMA "+statement)
			return err
		}
		added, dropped := alter("ADD TABLE "+name), alter("DROP TABLE "+name)
		if added != nil && strings.Contains(added.Error(), "unsupported on sharded keyspace") {
			added, dropped = alter("CREATE VINDEX "+name+" USING hash"), alter("DROP VINDEX "+name)
		}
		if dropped != nil {
			return errors.Join(added, dropped)
		}
		return nil
	})
}

// Once a VSchema is in the topology, a vtgate is told, and serves it within milliseconds; unless two changes at once, of
// whichever keyspaces, have met: each writes for all keyspaces what vtgate serves (topo's SrvVSchema), so the later one may
// undo the earlier one there, until somebody has it rebuilt.
const (
	// serveSoon is after how long it is not served.
	serveSoon = 2 * time.Second
	// serveTimeout is how long it may take after it has been rebuilt.
	serveTimeout = 30 * time.Second
)

// serve returns when vtgate plans with a VSchema that is in the topology. Of several vtgates behind one address it asks
// one; the others hear of a change at the same time.
func (v *Vitess) serve(ctx context.Context, keyspace string, topology *vschemapb.Keyspace) error {
	unserved, err := v.awaitServed(ctx, keyspace, topology, serveSoon)
	if err != nil || len(unserved) == 0 {
		return err
	}
	var rebuilt error
	if v.VTCtld != nil {
		_, rebuilt = v.VTCtld.RebuildVSchemaGraph(ctx, &vtctldatapb.RebuildVSchemaGraphRequest{})
	} else {
		rebuilt = v.takeUp(ctx, keyspace)
	}
	unserved, err = v.awaitServed(ctx, keyspace, topology, serveTimeout)
	if err != nil || len(unserved) == 0 {
		return err
	}
	return errors.Join(rebuilt, fmt.Errorf("keyspace %s has its VSchema, but vtgate does not serve it (%s): if somebody else changes it now, run this again; "+
		"else run vtctldclient RebuildVSchemaGraph, and look at /debug/vschema of vtgate and at its topology cell", keyspace, unserved[0]))
}

// awaitServed returns in what vtgate serves another VSchema than the topology's, once it serves the same or the time is
// over.
func (v *Vitess) awaitServed(ctx context.Context, keyspace string, topology *vschemapb.Keyspace, limit time.Duration) ([]compare.Difference, error) {
	over := time.After(limit)
	for {
		served, err := v.ServedVSchema(ctx, keyspace)
		if err != nil {
			return nil, err
		}
		unserved := compare.Served(served, topology)
		if len(unserved) == 0 {
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over:
			return unserved, nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}
