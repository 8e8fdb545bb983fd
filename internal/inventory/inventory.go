// Package inventory finds the SQL statements of a Temporal server without a database: it calls every method of a SQL
// plugin, and asks the visibility store typical questions, over a driver that records statements instead of sending them.
// A new Temporal release brings its new statements by itself.
package inventory

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/iancoleman/strcase"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/resolver"
	"vitess.io/vitess/go/sqltypes"
	querypb "vitess.io/vitess/go/vt/proto/query"

	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Of returns what a server with this project's plugin sends to keyspaces of these names, except DDL.
func Of(keyspaces map[vschema.Role]string, profile vschema.Profile) ([]Call, error) {
	p, err := Vitess(keyspaces, profile)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	methods, err := p.Methods()
	if err != nil {
		return nil, err
	}
	queries, _, err := p.Queries()
	if err != nil {
		return nil, err
	}
	var calls []Call
	for _, call := range append(methods, queries...) {
		if call.Statements[0].ReadsOrWrites() {
			calls = append(calls, call)
		}
	}
	return calls, nil
}

// Plugin is a SQL plugin whose statements are recorded. It is for one goroutine.
type Plugin struct {
	recorder   *recorder
	config     *config.SQL
	main       sqlplugin.DB
	visibility sqlplugin.DB
	admin      map[sqlplugin.DbKind]sqlplugin.AdminDB
}

// Upstream opens upstream's plugin. The caller closes.
func Upstream() (*Plugin, error) {
	r, err := newRecorder()
	if err != nil {
		return nil, err
	}
	return open(r, &config.SQL{
		PluginName:   mysql.PluginName,
		DatabaseName: string(vschema.Main),
		Connect: func(*config.SQL) (*sqlx.DB, error) {
			db := sqlx.NewDb(sql.OpenDB(r), "mysql")
			db.MapperFunc(strcase.ToSnake) // as upstream's session does
			return db, nil
		},
	})
}

// Vitess opens this project's plugin on keyspaces of these names. The plugin is registered once more under a name that
// makes the recorder its base, since upstream's visibility store opens its plugin by name. The caller closes.
func Vitess(keyspaces map[vschema.Role]string, profile vschema.Profile) (*Plugin, error) {
	r, err := newRecorder()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s, recorded %d", plugin.Name, registered.Add(1))
	persistencesql.RegisterPlugin(name, recordedPlugin{recorder: r, keyspaces: keyspaces, profile: profile})
	return open(r, &config.SQL{PluginName: name, DatabaseName: keyspaces[vschema.Main]})
}

// registered counts the names that Vitess has given.
var registered atomic.Int64

// recordedPlugin is this project's plugin over a recorder.
type recordedPlugin struct {
	recorder  *recorder
	keyspaces map[vschema.Role]string
	profile   vschema.Profile
}

func (p recordedPlugin) CreateDB(kind sqlplugin.DbKind, cfg *config.SQL, _ resolver.ServiceResolver, logger log.Logger, handler metrics.Handler) (sqlplugin.GenericDB, error) {
	store := *cfg
	// Each statement on its own is what the recorder answers.
	store.ConnectAttributes = map[string]string{"vitess_unknown_statements": "reject", "vitess_pipelining": "off"}
	if kind == sqlplugin.DbKindVisibility {
		store.DatabaseName = p.keyspaces[vschema.Visibility]
		store.ConnectAttributes["vitess_visibility_profile"] = string(p.profile)
	} else {
		store.ConnectAttributes["vitess_global_keyspace"] = p.keyspaces[vschema.Global]
	}
	return plugin.NewDB(kind, &store, p.recorder, logger, handler)
}

func (p recordedPlugin) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	converter, err := persistencesql.GetPluginVisibilityQueryConverter(plugin.Name)
	if err != nil {
		panic(err) // package plugin registers it
	}
	return converter
}

var storeKinds = []sqlplugin.DbKind{sqlplugin.DbKindMain, sqlplugin.DbKindVisibility}

func open(r *recorder, cfg *config.SQL) (*Plugin, error) {
	p := &Plugin{recorder: r, config: cfg, admin: make(map[sqlplugin.DbKind]sqlplugin.AdminDB)}
	for kind, db := range map[sqlplugin.DbKind]*sqlplugin.DB{sqlplugin.DbKindMain: &p.main, sqlplugin.DbKindVisibility: &p.visibility} {
		var err error
		if *db, err = persistencesql.NewSQLDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		if p.admin[kind], err = persistencesql.NewSQLAdminDB(kind, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// Close closes the plugin's connections to the recorder.
func (p *Plugin) Close() error {
	var errs []error
	for _, kind := range storeKinds {
		if admin := p.admin[kind]; admin != nil {
			errs = append(errs, admin.Close())
		}
	}
	for _, db := range []sqlplugin.DB{p.main, p.visibility} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// BindVariables are the values of a statement's ? placeholders, which Vitess' parser calls v1, v2...
func BindVariables(args []driver.Value) (map[string]*querypb.BindVariable, error) {
	values := make(map[string]*querypb.BindVariable, len(args))
	for i, arg := range args {
		if at, ok := arg.(time.Time); ok {
			arg = at.Format("2006-01-02 15:04:05.999999") // as the MySQL driver sends it
		}
		value, err := sqltypes.BuildBindVariable(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		values[fmt.Sprintf("v%d", i+1)] = value
	}
	return values, nil
}
