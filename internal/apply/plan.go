package apply

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/schemadiff"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// ErrSetUp is what [Setup] returns for keyspaces that hold a set-up.
var ErrSetUp = errors.New("is set up already")

// Action is one statement that has to be executed.
type Action struct {
	// Keyspace is where, Role what it holds.
	Keyspace string
	Role     vschema.Role
	// VitessShards are those that lack it, nil for the keyspace as a whole.
	VitessShards []string
	SQL          string
	// Step is what it belongs to, such as "main 1.9 -> 1.10", and Title its place there, such as "2 of 4 statements".
	Step, Title string
	// DDL tells a change of tables from one of rows.
	DDL bool
}

// planner collects actions while it applies them to the state.
type planner struct {
	state   *State
	env     *schemadiff.Environment
	actions []Action
}

func newPlanner(state *State) (*planner, error) {
	env, err := environment()
	return &planner{state: state, env: env}, err
}

// Setup plans a new set-up at the newest version: all of it on empty keyspaces, the rest of it on those where an earlier
// run was interrupted. It fails if the keyspaces hold a set-up, and if they hold tables that are not a new set-up's. The
// state is used up.
func Setup(state *State) ([]Action, error) {
	store := state.Store
	if version := state.Version(); version != "" {
		return nil, fmt.Errorf("the %s store %w at %s; update-schema brings older ones to %s", store, ErrSetUp, version, store.Newest())
	}
	p, err := newPlanner(state)
	if err != nil {
		return nil, err
	}
	var statements []schema.Statement
	for _, role := range store.Roles() {
		keyspace, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		for _, text := range keyspace.Statements {
			parsed, err := schema.Parse(text)
			if err != nil {
				return nil, err
			}
			statements = append(statements, schema.Statement{Text: text, Role: role, Table: tableOf(parsed), Parsed: parsed})
		}
	}
	step := Step{
		Store: store, From: "0", To: store.Newest(), MinCompatible: store.Newest(),
		Description: "initial version", // as upstream's set-up task has it
		Statements:  statements,
	}
	if err := p.apply(step); err != nil {
		return nil, err
	}
	if err := p.compare(); err != nil {
		return nil, err
	}
	p.record(step)
	return p.actions, nil
}

// CheckUpdate returns an error if there is no way from the state's version to another, "" for the newest.
func CheckUpdate(state *State, to string) error {
	if state.Version() == "" {
		return state.noVersion()
	}
	_, err := Steps(state.Store, state.Version(), to)
	return err
}

// Update plans what leads from the state's version to another, "" for the newest. It fails if there is no such way. At the
// newest version it also plans what makes each table that of a new set-up; with keepColumns only its indexes, which needs
// no rebuild of a table. The state is used up.
func Update(state *State, to string, keepColumns bool) ([]Action, error) {
	if err := CheckUpdate(state, to); err != nil {
		return nil, err
	}
	store := state.Store
	steps, err := Steps(store, state.Version(), to)
	if err != nil {
		return nil, err
	}
	p, err := newPlanner(state)
	if err != nil {
		return nil, err
	}
	for _, step := range steps {
		if err := p.apply(step); err != nil {
			return nil, err
		}
		p.record(step)
	}
	if to == "" || compareVersions(to, store.Newest()) == 0 {
		if err := p.align(keepColumns); err != nil {
			return nil, err
		}
	}
	return p.actions, nil
}

// UpdateFrom plans what leads from one version to another on keyspaces that cannot be looked at: upstream's statements as
// they are. What else a look would find, see the package documentation, an Update without a version finds later.
func UpdateFrom(store Store, keyspaces map[vschema.Role]string, from, to string) ([]Action, error) {
	earlier, err := Steps(store, "0.0", from)
	if err != nil {
		return nil, err
	}
	steps, err := Steps(store, from, to)
	if err != nil {
		return nil, err
	}
	p, err := newPlanner(New(store, keyspaces))
	if err != nil {
		return nil, err
	}
	for _, step := range earlier {
		if err := p.apply(step); err != nil {
			return nil, err
		}
	}
	p.actions = nil
	for _, step := range steps {
		if err := p.apply(step); err != nil {
			return nil, err
		}
		p.record(step)
	}
	return p.actions, nil
}

func (s *State) noVersion() error {
	table := s.Keyspaces[s.Store.versions()] + ".schema_version"
	database := s.Store.versionName(s.Keyspaces)
	switch {
	case s.Empty():
		return fmt.Errorf("the %s store is not set up: keyspace %s has none of its tables: run temporal-vitess-tool setup-schema", s.Store, s.Keyspaces[s.Store.database()])
	case len(s.versions) > 0:
		return fmt.Errorf("%s has no version for database %s, but %v: name the keyspace that the servers' databaseName has (--keyspace, --visibility-keyspace)", table, database, s.versions)
	default:
		return fmt.Errorf("%s has no version for database %s: if setup-schema was interrupted, run it again", table, database)
	}
}

// apply plans the statements of a step.
func (p *planner) apply(step Step) error {
	for i, statement := range step.Statements {
		title := fmt.Sprintf("%d of %d statements", i+1, len(step.Statements))
		var later []sqlparser.AlterOption
		for _, following := range step.Statements[i+1:] {
			if alter, ok := following.Parsed.(*sqlparser.AlterTable); ok && following.Table == statement.Table {
				later = append(later, alter.AlterOptions...)
			}
		}
		err := p.perShard(statement.Role, step.String(), title, func(s *shard) ([]string, error) {
			if _, ok := statement.Parsed.(*sqlparser.Insert); ok {
				if len(p.state.shards[statement.Role]) > 1 {
					return nil, fmt.Errorf("%q: which of the Vitess shards of keyspace %s gets the row?", statement.Text, p.state.Keyspaces[statement.Role])
				}
				if s.rows[statement.Text] {
					return nil, nil
				}
				return []string{statement.Text}, nil
			}
			text, err := lacking(s.tables[statement.Table], statement, later)
			if text == "" || err != nil {
				return nil, err
			}
			return []string{text}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// align plans what makes each table that of a new set-up, and drops those that it does not have: upstream has left
// cluster_metadata behind, which its servers do not read since main 1.7 took another in its place.
func (p *planner) align(keepColumns bool) error {
	step := fmt.Sprintf("%s %s as in a new set-up", p.state.Store, p.state.Store.Newest())
	for _, role := range p.state.Store.Roles() {
		want, _, err := newest(p.env, role)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(p.state.shards[role][0].tables)) {
			if want[name] != nil || keepColumns {
				continue
			}
			err := p.perShard(role, step, "without table "+name, func(s *shard) ([]string, error) {
				if s.tables[name] == nil {
					return nil, nil
				}
				return []string{"DROP TABLE " + name}, nil
			})
			if err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			err := p.perShard(role, step, "table "+name, func(s *shard) ([]string, error) {
				if s.tables[name] == nil {
					return nil, fmt.Errorf("keyspace %s has no table %s on Vitess shard %s, though its schema version says so: restore it, or have setup-schema --emit show what creates it", p.state.Keyspaces[role], name, s.name)
				}
				return differing(s.tables[name], withOwn(want[name], s.tables[name]), keepColumns)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// compare returns an error if a table is not that of a new set-up.
func (p *planner) compare() error {
	for _, role := range p.state.Store.Roles() {
		want, _, err := newest(p.env, role)
		if err != nil {
			return err
		}
		for name, table := range want {
			for _, s := range p.state.shards[role] {
				changes, err := differing(s.tables[name], table, false)
				if err != nil {
					return err
				}
				if len(changes) > 0 {
					return fmt.Errorf("keyspace %s has a table %s that setup-schema did not create (%s would make it what it has to be): take empty keyspaces, or record its schema version and run update-schema",
						p.state.Keyspaces[role], name, strings.Join(changes, "; "))
				}
			}
		}
	}
	return nil
}

// perShard plans the statements that lack says each Vitess shard of a keyspace lacks.
func (p *planner) perShard(role vschema.Role, step, title string, lack func(*shard) ([]string, error)) error {
	shards := p.state.shards[role]
	on := map[string][]string{} // Vitess shards by the statement that they lack
	var order []string
	for _, s := range shards {
		statements, err := lack(s)
		if err != nil {
			return err
		}
		for _, text := range statements {
			if err := s.apply(p.env, text); err != nil {
				return err
			}
			if on[text] == nil {
				order = append(order, text)
			}
			on[text] = append(on[text], s.name)
		}
	}
	for _, text := range order {
		action := Action{Keyspace: p.state.Keyspaces[role], Role: role, SQL: text, Step: step, Title: title, DDL: true}
		if parsed, err := schema.Parse(text); err == nil {
			_, insert := parsed.(*sqlparser.Insert)
			action.DDL = !insert
		}
		if len(on[text]) < len(shards) {
			action.VitessShards = on[text]
		}
		p.actions = append(p.actions, action)
	}
	return nil
}

// record plans the records of a version, with upstream's statements (sqlplugin/mysql/admin.go). The history comes first:
// the version is what a later run starts from.
func (p *planner) record(step Step) {
	role := step.Store.versions()
	add := func(what, sql string) {
		p.actions = append(p.actions, Action{
			Keyspace: p.state.Keyspaces[role], Role: role, SQL: sql,
			Step: step.String(), Title: what,
		})
	}
	if !p.state.history[step.From+" -> "+step.To+" "+step.ManifestMD5] {
		add("record in the history", fmt.Sprintf("INSERT INTO schema_update_history (version_partition, year, month, update_time, old_version, new_version, manifest_md5, description) "+
			"VALUES (0, YEAR(UTC_TIMESTAMP()), MONTH(UTC_TIMESTAMP()), UTC_TIMESTAMP(6), %s, %s, %s, %s)",
			literal(step.From), literal(step.To), literal(step.ManifestMD5), literal(step.Description)))
	}
	add("record the version", fmt.Sprintf("INSERT INTO schema_version (version_partition, db_name, creation_time, curr_version, min_compatible_version) "+
		"VALUES (0, %s, UTC_TIMESTAMP(6), %s, %s) "+
		"ON DUPLICATE KEY UPDATE creation_time = VALUES(creation_time), curr_version = VALUES(curr_version), min_compatible_version = VALUES(min_compatible_version)",
		literal(step.Store.versionName(p.state.Keyspaces)), literal(step.To), literal(step.MinCompatible)))
}

func literal(text string) string { return sqlparser.String(sqlparser.NewStrLiteral(text)) }

// tableOf returns the table of a statement of package schema's.
func tableOf(statement sqlparser.Statement) string {
	switch statement := statement.(type) {
	case sqlparser.DDLStatement:
		return statement.GetTable().Name.String()
	case *sqlparser.Insert:
		name, _ := statement.Table.TableName()
		return name.Name.String()
	}
	return ""
}
