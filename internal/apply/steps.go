package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	"go.temporal.io/server/common/log"
	upstreamschema "go.temporal.io/server/schema"
	"go.temporal.io/server/tools/common/schema"

	placed "github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Store is one of Temporal's stores, with the keyspaces and the schema version that are its own.
type Store string

const (
	Main       Store = "main"
	Visibility Store = "visibility"
)

// Stores lists every store in a fixed order.
func Stores() []Store { return []Store{Main, Visibility} }

// Roles returns the keyspaces of the store, in the order in which they are worked on.
func (s Store) Roles() []vschema.Role {
	if s == Visibility {
		return []vschema.Role{vschema.Visibility}
	}
	return []vschema.Role{vschema.Main, vschema.Global}
}

// Keyspaces returns the names of the store's keyspaces, each once, in the order in which they are worked on.
func (s Store) Keyspaces(names map[vschema.Role]string) []string {
	var own []string
	for _, role := range s.Roles() {
		if !slices.Contains(own, names[role]) {
			own = append(own, names[role])
		}
	}
	return own
}

// Newest returns the version that this program's Temporal release needs.
func (s Store) Newest() string {
	if s == Visibility {
		return placed.VisibilityVersion
	}
	return placed.MainVersion
}

// versions is the keyspace with the store's tables of schema versions.
func (s Store) versions() vschema.Role {
	if s == Visibility {
		return vschema.Visibility
	}
	return vschema.Global
}

// database is the keyspace whose name a server asks for the version of (databaseName).
func (s Store) database() vschema.Role {
	if s == Visibility {
		return vschema.Visibility
	}
	return vschema.Main
}

// versionName is the name under which the store's version is recorded: that of the database, for which a server asks. Where
// one database holds the tables and the versions of both stores, the visibility store has another.
func (s Store) versionName(keyspaces map[vschema.Role]string) string {
	name := keyspaces[s.database()]
	if s == Visibility && name == keyspaces[vschema.Main] && name == keyspaces[vschema.Global] {
		return placed.VisibilityVersionName(name)
	}
	return name
}

// upstream is the store's schema in upstream's assets.
func (s Store) upstream() string {
	if s == Visibility {
		return "mysql/v8/visibility"
	}
	return "mysql/v8/temporal"
}

// Step leads from one version of a store's schema to the next.
type Step struct {
	Store    Store
	From, To string
	// MinCompatible, ManifestMD5 and Description are what upstream records with the version.
	MinCompatible, ManifestMD5, Description string
	Statements                              []placed.Statement
}

// String names the step, as in "main 1.9 -> 1.10".
func (s Step) String() string { return fmt.Sprintf("%s %s -> %s", s.Store, s.From, s.To) }

// Versions returns the versions of a store's schema that this program knows, ascending.
func Versions(store Store) ([]string, error) {
	folders, err := fs.ReadDir(upstreamschema.Assets(), store.upstream()+"/versioned")
	if err != nil {
		return nil, err
	}
	var versions []string
	for _, folder := range folders {
		versions = append(versions, strings.TrimPrefix(folder.Name(), "v"))
	}
	slices.SortFunc(versions, compareVersions)
	return versions, nil
}

// compareVersions orders versions. One that is none comes first, which no version of upstream's is.
func compareVersions(a, b string) int {
	first, _ := semver.ParseTolerant(a)
	second, _ := semver.ParseTolerant(b)
	return first.Compare(second)
}

// Steps returns what leads from one version to another, in order. With an empty to it leads to the newest, with a from
// of 0.0 it starts with the tables of the first version. It fails if there is no such way, and if this package does not
// understand a statement.
func Steps(store Store, from, to string) ([]Step, error) {
	if to == "" {
		to = store.Newest()
	}
	from, to = strings.TrimPrefix(from, "v"), strings.TrimPrefix(to, "v")
	if err := checkVersions(store, from, to); err != nil {
		return nil, err
	}
	r := &recorder{store: store, from: from}
	config := &schema.UpdateConfig{SchemaName: store.upstream(), TargetVersion: to}
	if err := schema.NewUpdateSchemaTask(r, config, log.NewNoopLogger()).Run(); err != nil {
		return nil, errors.Join(r.failure, err)
	}
	return r.steps, r.failure
}

func checkVersions(store Store, from, to string) error {
	known, err := Versions(store)
	if err != nil {
		return err
	}
	first, newest := known[0], known[len(known)-1]
	for _, version := range []string{from, to} {
		switch {
		case slices.Contains(known, version), version == from && from == "0.0":
		case compareVersions(version, newest) > 0:
			return fmt.Errorf("version %s of the %s schema is newer than this tool, which knows %s to %s: use the temporal-vitess-tool of that Temporal release", version, store, first, newest)
		default:
			return fmt.Errorf("there is no version %q of the %s schema: there are %s", version, store, strings.Join(known, ", "))
		}
	}
	if compareVersions(from, to) > 0 {
		return fmt.Errorf("the %s schema is at %s already, and Temporal has no way back to %s: leave out --version, or name a later one", store, from, to)
	}
	return nil
}

// recorder has upstream's update task tell what it would do.
type recorder struct {
	store      Store
	from       string
	statements []placed.Statement
	steps      []Step
	// failure is kept since upstream's task takes some errors of Exec for success, by their text.
	failure error
}

var _ schema.DB = (*recorder)(nil)

func (r *recorder) ReadSchemaVersion() (string, error) { return r.from, nil }

func (r *recorder) Exec(text string, _ ...any) error {
	statement, err := placed.Place(text, r.store.Roles()...)
	if err == nil {
		err = understood(statement)
	}
	r.failure = errors.Join(r.failure, err)
	r.statements = append(r.statements, statement)
	return err
}

func (r *recorder) UpdateSchemaVersion(to, minCompatible string) error {
	r.steps = append(r.steps, Step{Store: r.store, To: to, MinCompatible: minCompatible, Statements: r.statements})
	r.statements = nil
	return nil
}

func (r *recorder) WriteSchemaUpdateLog(from, _, manifestMD5, description string) error {
	step := &r.steps[len(r.steps)-1]
	step.From, step.ManifestMD5, step.Description = from, manifestMD5, description
	return nil
}

func (r *recorder) Type() string { return "sql" }
func (r *recorder) Close()       {}

var errNotRecorded = errors.New("an update of the schema does not do this")

func (r *recorder) DropAllTables() error             { return errNotRecorded }
func (r *recorder) CreateSchemaVersionTables() error { return errNotRecorded }
