package live

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/schema"
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
	return response.VSchema, nil
}

// ServedVSchema returns the VSchema that vtgate plans with, as far as it shows it; see [Vitess.SeesWholeVSchema].
func (v *Vitess) ServedVSchema(ctx context.Context, keyspace string) (*vschemapb.Keyspace, error) {
	if _, err := v.VitessShards(ctx, keyspace); err != nil {
		return nil, err
	}
	served := &vschemapb.Keyspace{Vindexes: map[string]*vschemapb.Vindex{}, Tables: map[string]*vschemapb.Table{}}
	err := v.In(ctx, keyspace, func(session *sql.Conn) error {
		if err := each(ctx, session, "SHOW VSCHEMA KEYSPACES", func(row []string) {
			if row[0] == keyspace {
				served.Sharded = row[1] == "true"
			}
		}); err != nil {
			return err
		}
		if err := each(ctx, session, "SHOW VSCHEMA VINDEXES", func(row []string) {
			if row[0] == keyspace {
				served.Vindexes[row[1]] = &vschemapb.Vindex{Type: row[2], Params: params(row[3]), Owner: row[4]}
			}
		}); err != nil {
			return err
		}
		var tables []string
		if err := each(ctx, session, "SHOW VSCHEMA TABLES", func(row []string) {
			if row[0] != "dual" && !schema.IsInternalOperationTableName(row[0]) { // Vitess' own
				tables = append(tables, row[0])
			}
		}); err != nil {
			return err
		}
		for _, name := range tables {
			table := &vschemapb.Table{}
			err := each(ctx, session, "SHOW VSCHEMA VINDEXES ON "+quote(keyspace, name), func(row []string) {
				table.ColumnVindexes = append(table.ColumnVindexes, &vschemapb.ColumnVindex{Name: row[1], Columns: strings.Split(row[0], ", ")})
			})
			if refused(err, errnoNoSuchTable) {
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
	return served, nil
}

// each calls use with each row of a SHOW, whose columns are text.
func each(ctx context.Context, session *sql.Conn, query string, use func(row []string)) error {
	rows, err := session.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	row := make([]string, len(columns))
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		use(row)
	}
	return rows.Err()
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

// ApplyVSchema makes a keyspace's VSchema the target, which derives from what [Vitess.VSchema] has returned as live, and
// returns when vtgate serves it. With vtctld that is one step, and an error if the VSchema is no longer the live one;
// without it one ALTER VSCHEMA for each change, where an interruption leaves some of them to do.
func (v *Vitess) ApplyVSchema(ctx context.Context, keyspace string, live, target *vschemapb.Keyspace) error {
	var err error
	if v.VTCtld != nil {
		err = v.replaceVSchema(ctx, keyspace, live, target)
	} else {
		err = v.alterVSchema(ctx, keyspace, live, target)
	}
	if err != nil {
		return fmt.Errorf("VSchema of keyspace %s: %w", keyspace, err)
	}
	return v.waitServed(ctx, keyspace, target)
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

// The errors of vtgate that matter here.
const (
	errnoAccessDenied = 1045 // the user may not change a VSchema
	errnoNoSuchTable  = 1146
)

// refused reports whether vtgate answered with an error number.
func refused(err error, number uint16) bool {
	var server *mysql.MySQLError
	return errors.As(err, &server) && server.Number == number
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
			if refused(err, errnoAccessDenied) {
				return fmt.Errorf("%w: allow the user with vtgate's --vschema-ddl-authorized-users, or give --vtctld, or write files for somebody who may with --emit", err)
			}
			if err != nil {
				return fmt.Errorf("statement %d of %d, %s: %w", i+1, len(statements), statement, err)
			}
		}
		return nil
	})
}

// serveTimeout is how long a vtgate may take to serve a VSchema that is in the topology: it is told, and needs
// milliseconds.
const serveTimeout = 30 * time.Second

// waitServed returns when vtgate plans with a VSchema. Of several vtgates behind one address it asks one; the others
// hear of a change at the same time.
func (v *Vitess) waitServed(ctx context.Context, keyspace string, target *vschemapb.Keyspace) error {
	deadline, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	for {
		served, err := v.ServedVSchema(deadline, keyspace)
		var lacks string
		if err == nil {
			if lacks = notServed(served, target); lacks == "" {
				return nil
			}
		}
		select {
		case <-deadline.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return errors.Join(err, fmt.Errorf("keyspace %s has its VSchema, but vtgate does not serve it after %s (%s): look at /debug/vschema of vtgate and at its topology cell",
				keyspace, serveTimeout, lacks))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// notServed is a difference between what vtgate shows and the target, of those that vtgate can show; empty if there is
// none.
func notServed(served, target *vschemapb.Keyspace) string {
	if served.Sharded != target.Sharded {
		return fmt.Sprintf("sharded is %t", served.Sharded)
	}
	if !maps.EqualFunc(served.Vindexes, target.Vindexes, func(a, b *vschemapb.Vindex) bool { return proto.Equal(a, b) }) {
		return "other vindexes"
	}
	for name, table := range target.Tables {
		has, ok := served.Tables[name]
		if !ok || (target.Sharded && !sameVindexes(has.ColumnVindexes, table.ColumnVindexes)) {
			return "table " + name
		}
	}
	for name := range served.Tables {
		// Of an unsharded keyspace, vtgate shows the tables that exist as well.
		if _, ok := target.Tables[name]; !ok && target.Sharded {
			return "table " + name
		}
	}
	return ""
}
