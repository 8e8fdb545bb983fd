package plugin

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-sql-driver/mysql"
	upstream "go.temporal.io/server/common/persistence/schema"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
	"github.com/temporal-vitess/temporal-vitess/schema"
)

// connecting remembers why a store could not connect: upstream's sqlplugin.DatabaseHandle writes that into the log, and
// later returns that there is no usable connection. It is safe for concurrent use.
type connecting struct{ failed atomic.Pointer[error] }

// note takes the outcome of an attempt, and returns its error.
func (c *connecting) note(err error) error {
	c.failed.Store(nil)
	if err != nil {
		c.failed.Store(&err)
	}
	return err
}

// cause returns why the last attempt failed, nil if it did not.
func (c *connecting) cause() error {
	if failed := c.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// VerifyVersion returns an error that says what to do if the store cannot be reached, if it has no schema, or if that is
// older than the server needs; or if it cannot have the tasks of subqueues where the option says. A Temporal server asks at
// its start, and ends with this error.
func (d *db) VerifyVersion() error {
	name := d.DbName()
	if d.kind == sqlplugin.DbKindVisibility {
		shared := schema.VisibilityVersionName(name)
		switch _, err := d.ReadSchemaVersion(shared); {
		case err == nil:
			name = shared
		case errors.Is(err, sql.ErrNoRows):
			if err := d.findVisibility(); err != nil {
				return err
			}
		}
	}
	err := upstream.VerifyCompatibleVersion(d, name, d.ExpectedVersion())
	if err == nil {
		return d.verifySubqueueTasks()
	}
	options, store := optionsOf(d.kind), d.kind.String()
	if cause := d.connecting.cause(); cause != nil {
		return fmt.Errorf("%s store: %w", store, vtgates.Explain(met(cause), options))
	}
	version, unreadable := d.ReadSchemaVersion(name)
	switch unreadable = met(unreadable); {
	case unreadable == nil:
		return fmt.Errorf("%w: bring the schema from %s to %s with temporal-vitess-tool update-schema, then start the server again", err, version, d.ExpectedVersion())
	case errors.Is(unreadable, sql.ErrNoRows), missingTable(unreadable):
		return fmt.Errorf("%w: if the keyspaces are new, set them up with temporal-vitess-tool setup-schema", err)
	case vtgates.NoSuchKeyspace(unreadable):
		return fmt.Errorf("%s store: %w", store, vtgates.Explain(unreadable, options))
	default:
		return fmt.Errorf("%s store: its schema version cannot be read: %w: temporal-vitess-tool doctor shows what is missing", store, unreadable)
	}
}

// met returns what the driver met, below an outcome.
func met(err error) error {
	if classified, ok := errors.AsType[*outcome.Error](err); ok && classified.Cause != nil {
		return classified.Cause
	}
	return err
}

// missingTable reports whether an error says that there is no such table: MySQL and vtgate have a number for it, but for a
// table of a sharded keyspace that its VSchema lacks vtgate has a text only (vindexes.NotFoundError).
func missingTable(err error) bool {
	const noSuchTable = 1146 // ER_NO_SUCH_TABLE
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (answer.Number == noSuchTable || strings.HasPrefix(answer.Message, "table ") && strings.HasSuffix(answer.Message, " not found"))
}

// optionsOf returns the names of a store's options in Temporal's configuration, with the variables of config/vitess.yaml.
func optionsOf(kind sqlplugin.DbKind) vtgates.Options {
	variable := func(name string) string { return name }
	keyspace := "databaseName (DBNAME) and vitess_global_keyspace (VITESS_GLOBAL_KEYSPACE)"
	if kind == sqlplugin.DbKindVisibility {
		variable = func(name string) string { return "VISIBILITY_" + name + " or " + name }
		keyspace = "databaseName (VISIBILITY_DBNAME)"
	}
	return vtgates.Options{
		Address:     fmt.Sprintf("connectAddr (%s, %s)", variable("MYSQL_SEEDS"), variable("DB_PORT")),
		Login:       fmt.Sprintf("user (%s) and password (%s) or passwordCommand", variable("MYSQL_USER"), variable("MYSQL_PWD")),
		Password:    "passwordCommand",
		TLS:         "set tls.enabled (SQL_TLS_ENABLED)",
		NoTLS:       "leave out tls.enabled (SQL_TLS_ENABLED)",
		Authority:   "tls.caFile, SQL_CA",
		ServerName:  "tls.serverName, SQL_HOST_NAME",
		Certificate: "tls.certFile and tls.keyFile, SQL_CERT and SQL_CERT_KEY",
		Keyspace:    keyspace,
	}
}

// findVisibility returns an error if the database has a schema version and not the tables of the visibility store: the
// version is the main store's then.
func (d *db) findVisibility() error {
	tables, err := d.ListTables(d.DbName())
	if err != nil || len(tables) == 0 || slices.Contains(tables, "executions_visibility") {
		return nil // what is wrong with the version says more
	}
	return fmt.Errorf("database %s has no table executions_visibility: set up the visibility store in it with temporal-vitess-tool setup-schema --store visibility --visibility-keyspace %[1]s", d.DbName())
}
