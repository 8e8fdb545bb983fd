package plugin

import (
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

	"github.com/temporal-vitess/temporal-vitess/plugin/conn"
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
	connector, err := NewConnector(cfg, resolver)
	if err != nil {
		return nil, fmt.Errorf("sql: %w", err)
	}
	return NewDB(kind, cfg, connector, logger, metricsHandler)
}

// DB is a store: all that Temporal asks of it, and what its schema tools ask.
type DB interface {
	sqlplugin.DB
	sqlplugin.AdminDB
}

// NewDB returns a store over the connections of base, for programs that dial in their own way. Base has to open
// connections of go-sql-driver/mysql that interpolate parameters, parse times, count found rows and, for pipelining, take
// several statements at once; of cfg the names, the pool sizes and the plugin's options are in use.
func NewDB(
	kind sqlplugin.DbKind,
	cfg *config.SQL,
	base driver.Connector,
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
	connector := conn.NewConnector(conn.Config{
		Base:          base,
		Router:        router,
		RejectUnknown: options.RejectUnknown,
		Pipelining:    options.Pipelining,
		Logger:        logger,
		Metrics:       metricsHandler,
	})
	upstream := *cfg
	upstream.PluginName = mysql.PluginName
	upstream.Connect = func(*config.SQL) (*sqlx.DB, error) { return open(connector, cfg) }
	created, err := persistencesql.NewSQLDB(kind, &upstream, nil, logger, metricsHandler)
	if err != nil {
		return nil, err
	}
	return newDB(created, options)
}

// open returns a connection pool, as upstream's session makes it (sqlplugin/mysql/session).
func open(connector driver.Connector, cfg *config.SQL) (*sqlx.DB, error) {
	db := sqlx.NewDb(sql.OpenDB(connector), "mysql")
	if err := db.Ping(); err != nil {
		_ = db.Close()
		return nil, err
	}
	if cfg.MaxConns > 0 {
		db.SetMaxOpenConns(cfg.MaxConns)
	}
	if cfg.MaxIdleConns > 0 {
		db.SetMaxIdleConns(cfg.MaxIdleConns)
	}
	if cfg.MaxConnLifetime > 0 {
		db.SetConnMaxLifetime(cfg.MaxConnLifetime)
	}
	// Field names in CamelCase are columns in snake_case.
	db.MapperFunc(strcase.ToSnake)
	return db, nil
}
