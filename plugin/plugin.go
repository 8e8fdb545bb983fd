package plugin

import (
	"cmp"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/iancoleman/strcase"
	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
)

// Name selects the plugin in Temporal's configuration (pluginName). A store reports upstream's "mysql8" instead, since
// upstream takes a name that it does not know for Elasticsearch (visibility.AllowListForValidation) or has no query
// converter for it (query.NewQueryConverterLegacy).
const Name = "vitess"

func init() {
	persistencesql.RegisterPlugin(Name, plugin{})
}

type plugin struct{}

var _ sqlplugin.Plugin = plugin{}

// GetVisibilityQueryConverter returns upstream's converter for MySQL.
func (plugin) GetVisibilityQueryConverter() sqlplugin.VisibilityQueryConverter {
	converter, err := persistencesql.GetPluginVisibilityQueryConverter(mysql.PluginName)
	if err != nil {
		panic(err) // upstream's plugin registers when its package is imported, as it is here
	}
	return converter
}

// CreateDB returns a store on the server that cfg names. It does not connect; but it fails where the configuration
// cannot work.
func (plugin) CreateDB(
	kind sqlplugin.DbKind,
	cfg *config.SQL,
	resolver resolver.ServiceResolver,
	logger log.Logger,
	metricsHandler metrics.Handler,
) (sqlplugin.GenericDB, error) {
	if cfg.Connect != nil {
		return nil, errors.New("sql: a Connect function goes around the plugin; use plugin.NewDB, which takes a driver.Connector")
	}
	attributes, settings, err := sessionAttributes(cfg)
	if err != nil {
		return nil, fmt.Errorf("sql: %w", err)
	}
	base, err := newConnector(cfg, resolver, attributes)
	if err != nil {
		return nil, fmt.Errorf("sql: %w", err)
	}
	return newStore(kind, cfg, base, settings, logger, metricsHandler)
}

// DB is a store: all that Temporal asks of it, and what its schema tools ask.
type DB interface {
	sqlplugin.DB
	sqlplugin.AdminDB
}

// NewDB returns a store over the connections of base, for programs that dial in their own way. Base has to open
// connections of go-sql-driver/mysql that interpolate parameters, parse times, count found rows and, for pipelining, take
// several statements at once; of cfg the names, the pool sizes, the system variables of the session and the plugin's
// options are in use. Statements take connections as they need them: what one sets on its connection another does not
// find.
func NewDB(
	kind sqlplugin.DbKind,
	cfg *config.SQL,
	base driver.Connector,
	logger log.Logger,
	metricsHandler metrics.Handler,
) (DB, error) {
	_, settings, err := sessionAttributes(cfg)
	if err != nil {
		return nil, fmt.Errorf("sql: %w", err)
	}
	return newStore(kind, cfg, base, settings, logger, metricsHandler)
}

func newStore(
	kind sqlplugin.DbKind,
	cfg *config.SQL,
	base driver.Connector,
	settings map[string]string,
	logger log.Logger,
	metricsHandler metrics.Handler,
) (DB, error) {
	options, err := parseOptions(kind, cfg)
	if err != nil {
		return nil, fmt.Errorf("sql: %w", err)
	}
	router, err := newRouter(kind, cfg.DatabaseName, options)
	if err != nil {
		return nil, err
	}
	gauges := newPoolGauges(metricsHandler, newInfo(kind))
	connecting := &connecting{}
	upstream := *cfg
	upstream.PluginName = mysql.PluginName
	upstream.Connect = func(*config.SQL) (*sqlx.DB, error) {
		connector, err := conn.NewConnector(conn.Config{
			Base:          base,
			MaxConns:      cfg.MaxConns,
			MaxIdle:       cmp.Or(cfg.MaxIdleConns, defaultMaxIdleConns),
			MaxLifetime:   cfg.MaxConnLifetime,
			Settings:      settings,
			Router:        router,
			RejectUnknown: options.RejectUnknown,
			Pipelining:    options.Pipelining,
			Logger:        logger,
			Metrics:       metricsHandler,
		})
		if err != nil {
			return nil, err
		}
		gauges.connector.Store(connector)
		opened, err := open(connector)
		return opened, connecting.note(err)
	}
	created, err := persistencesql.NewSQLDB(kind, &upstream, nil, logger, gauges)
	if err != nil {
		return nil, err
	}
	return newDB(kind, created, connecting, gauges.connector, options, logger, metricsHandler)
}

// defaultMaxIdleConns is what database/sql takes where upstream sets nothing.
const defaultMaxIdleConns = 2

// maxPlaces is how many connections without a session a store keeps while nobody needs them; each has some memory to work
// in. Those that are in use have no limit: the sessions have.
const maxPlaces = 64

// open returns what upstream takes for the connection pool, as its session makes it (sqlplugin/mysql/session).
func open(connector *conn.Connector) (*sqlx.DB, error) {
	db := sqlx.NewDb(sql.OpenDB(connector), "mysql")
	db.SetMaxIdleConns(maxPlaces)
	if err := db.Ping(); err != nil {
		_ = db.Close()
		return nil, err
	}
	// Field names in CamelCase are columns in snake_case.
	db.MapperFunc(strcase.ToSnake)
	return db, nil
}
