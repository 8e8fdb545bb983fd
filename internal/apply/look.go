package apply

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"vitess.io/vitess/go/mysql/collations"
	"vitess.io/vitess/go/vt/schemadiff"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/vtenv"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// State is what the keyspaces of a store have.
type State struct {
	Store Store
	// Keyspaces are their names, by role.
	Keyspaces map[vschema.Role]string
	// shards are the Vitess shards of each keyspace in the order of their key ranges.
	shards map[vschema.Role][]*shard
	// versions are the recorded schema versions by database name.
	versions map[string]string
	// history has the recorded updates, as "old -> new", with the checksum of their files.
	history map[string]bool
}

// shard is one Vitess shard.
type shard struct {
	name   string
	tables map[string]table
	// rows are those INSERT statements whose row is there, by text.
	rows map[string]bool
}

// shardsAtOnce is how many Vitess shards are looked at side by side.
const shardsAtOnce = 8

// Look reads what each Vitess shard of a store has, from the mysqld below. It fails if a keyspace does not exist.
func Look(ctx context.Context, vitess *live.Vitess, store Store, keyspaces map[vschema.Role]string) (*State, error) {
	state := &State{Store: store, Keyspaces: keyspaces, shards: map[vschema.Role][]*shard{}, versions: map[string]string{}, history: map[string]bool{}}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	for _, role := range store.Roles() {
		keyspace := keyspaces[role]
		names, err := vitess.VitessShards(ctx, keyspace)
		if err != nil {
			return nil, err
		}
		group, together := errgroup.WithContext(ctx)
		group.SetLimit(shardsAtOnce)
		state.shards[role] = make([]*shard, len(names))
		for i, name := range names {
			group.Go(func() error {
				return vitess.On(together, keyspace, name, func(session *sql.Conn) error {
					seen, err := readShard(together, session, env, name, role)
					if err != nil {
						return fmt.Errorf("look at %s: %w", vitess.Place(keyspace, name), err)
					}
					state.shards[role][i] = seen
					return nil
				})
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		if role != store.versions() {
			continue
		}
		for i, name := range names {
			err := vitess.On(ctx, keyspace, name, func(session *sql.Conn) error {
				return state.readVersions(ctx, session, state.shards[role][i])
			})
			if err != nil {
				return nil, fmt.Errorf("read the schema version in %s: %w", vitess.Place(keyspace, name), err)
			}
		}
	}
	return state, nil
}

// keyspaces are the names of the store's keyspaces, each once.
func (s *State) keyspaces() []string { return s.Store.Keyspaces(s.Keyspaces) }

// New is what the keyspaces of a store have before the set-up, for plans without a connection.
func New(store Store, keyspaces map[vschema.Role]string) *State {
	state := &State{Store: store, Keyspaces: keyspaces, shards: map[vschema.Role][]*shard{}}
	for _, role := range store.Roles() {
		state.shards[role] = []*shard{{name: "0", tables: map[string]table{}, rows: map[string]bool{}}}
	}
	return state
}

func environment() (*schemadiff.Environment, error) {
	env, err := vtenv.New(vtenv.Options{})
	if err != nil {
		return nil, err
	}
	return schemadiff.NewEnv(env, collations.MySQL8().DefaultConnectionCharset()), nil
}

// readShard reads the tables that are Temporal's. Others in the keyspace are none of the tool's business.
func readShard(ctx context.Context, session *sql.Conn, env *schemadiff.Environment, name string, role vschema.Role) (*shard, error) {
	s := &shard{name: name, tables: map[string]table{}, rows: map[string]bool{}}
	if err := live.ReadAsUsual(ctx, session); err != nil {
		return nil, err
	}
	names, err := live.Column(ctx, session, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !schema.Holds(role, name) {
			continue
		}
		var same, create string
		if err := session.QueryRowContext(ctx, "SHOW CREATE TABLE `"+name+"`").Scan(&same, &create); err != nil {
			return nil, err
		}
		parsed, err := schema.Parse(create)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		if s.tables[name], err = newTable(env, parsed.(*sqlparser.CreateTable)); err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
	}
	_, inserts, err := newest(env, role)
	if err != nil {
		return nil, err
	}
	for _, insert := range inserts {
		if s.tables[insert.Table] == nil {
			continue
		}
		query, err := rowQuery(s.tables[insert.Table], insert)
		if err != nil {
			return nil, err
		}
		found, err := live.Column(ctx, session, query)
		if err != nil {
			return nil, err
		}
		s.rows[insert.Text] = len(found) > 0
	}
	return s, nil
}

// rowQuery asks for the row of an INSERT by the primary key of its table: other columns change as Temporal runs.
func rowQuery(t table, insert schema.Statement) (string, error) {
	row, err := insertedRow(insert.Parsed.(*sqlparser.Insert))
	if err != nil {
		return "", err
	}
	var conditions []string
	for _, key := range t.TableSpec.Indexes {
		if key.Info.Type != sqlparser.IndexTypePrimary {
			continue
		}
		for _, part := range key.Columns {
			conditions = append(conditions, part.Column.String()+" = "+sqlparser.String(row[part.Column.Lowered()]))
		}
	}
	return "SELECT 1 FROM `" + insert.Table + "` WHERE " + strings.Join(conditions, " AND "), nil
}

// readVersions adds what a Vitess shard has of the tables of schema versions.
func (s *State) readVersions(ctx context.Context, session *sql.Conn, seen *shard) error {
	if seen.tables["schema_version"] == nil || seen.tables["schema_update_history"] == nil {
		return nil
	}
	var database, version string
	err := live.EachRow(ctx, session, "SELECT db_name, curr_version FROM schema_version WHERE version_partition = 0", nil, func() error {
		s.versions[database] = version
		return nil
	}, &database, &version)
	if err != nil {
		return err
	}
	updates, err := live.Column(ctx, session, "SELECT CONCAT(old_version, ' -> ', new_version, ' ', IFNULL(manifest_md5, '')) FROM schema_update_history WHERE version_partition = 0")
	if err != nil {
		return err
	}
	for _, update := range updates {
		s.history[update] = true
	}
	return nil
}

// Version returns the store's recorded version, "" if there is none.
func (s *State) Version() string { return s.versions[s.Store.versionName(s.Keyspaces)] }

// Empty tells whether the keyspaces have none of the store's tables. Those of schema versions do not count: another store
// may have them in the same keyspace.
func (s *State) Empty() bool {
	for _, shards := range s.shards {
		for _, shard := range shards {
			for name := range shard.tables {
				if name != "schema_version" && name != "schema_update_history" {
					return false
				}
			}
		}
	}
	return true
}
