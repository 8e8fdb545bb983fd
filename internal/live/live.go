// Package live looks at a running Vitess as the tool needs it: through vtgate, as a Temporal server does, and through
// vtctld where its address is known.
package live

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vitess.io/vitess/go/vt/vtctl/vtctldclient"

	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
)

// connectTimeout bounds a login, including the command that yields the password: who is no vtgate may never answer.
const connectTimeout = 30 * time.Second

// Vitess is a running Vitess. Its methods may be called from several goroutines.
type Vitess struct {
	// DB is a pool of connections to vtgate, without a default keyspace.
	DB *sql.DB
	// VTCtld is nil where its address is not known; PlanetScale, for one, has none to offer.
	VTCtld vtctldclient.VtctldClient
	// PlainMySQL says that there is no Vitess but a MySQL server, see [OpenServer].
	PlainMySQL bool
}

// Open connects to vtgate and, if its address is not empty, to vtctld. An error names the option of the tool that has to
// change.
func Open(ctx context.Context, vtgate driver.Connector, vtctld string) (*Vitess, error) {
	v, err := OpenServer(ctx, vtgate, vtctld)
	if err == nil && v.PlainMySQL {
		return nil, errors.Join(errors.New("a MySQL server answers, not a vtgate: check --endpoint and --port (vtgate's MySQL port)"), v.Close())
	}
	return v, err
}

// OpenServer is [Open] for what also works on a MySQL server without Vitess. Its databases count as unsharded keyspaces, each with
// one Vitess shard without a name; there is no VSchema.
func OpenServer(ctx context.Context, server driver.Connector, vtctld string) (*Vitess, error) {
	db, err := Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	v := &Vitess{DB: db}
	is, err := IsVTGate(ctx, db)
	v.PlainMySQL = !is
	if err == nil && !is && vtctld != "" {
		err = errors.New("--vtctld: a MySQL server answers at --endpoint and --port, not a vtgate")
	}
	if err == nil && vtctld != "" {
		v.VTCtld, err = dialVTCtld(ctx, vtctld)
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// Connect connects to vtgate or, for what is not on Vitess yet, to a MySQL server. An error names the option of the tool
// that has to change.
func Connect(ctx context.Context, server driver.Connector) (*sql.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	db := sql.OpenDB(server)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(vtgates.Explain(err, options), db.Close())
	}
	return db, nil
}

// IsVTGate reports whether a server is a vtgate, which the version it gives need not say.
func IsVTGate(ctx context.Context, db *sql.DB) (bool, error) {
	_, err := (&Vitess{DB: db}).Keyspaces(ctx)
	if Refused(err, ErrnoSyntax) {
		return false, nil
	}
	return err == nil, err
}

// Close closes all connections.
func (v *Vitess) Close() error {
	err := v.DB.Close()
	if v.VTCtld != nil {
		err = errors.Join(err, v.VTCtld.Close())
	}
	return err
}

// options are the flags of the tool.
var options = vtgates.Options{
	Address:     "--endpoint and --port",
	Login:       "--user and --password or --password-command",
	Password:    "--password-command",
	TLS:         "give --tls",
	NoTLS:       "leave out --tls",
	Authority:   "--tls-ca-file",
	ServerName:  "--tls-server-name",
	Certificate: "--tls-cert-file and --tls-key-file",
	Keyspace:    "--keyspace, --global-keyspace and --visibility-keyspace",
}

// Keyspaces returns the names of all keyspaces, in order.
func (v *Vitess) Keyspaces(ctx context.Context) ([]string, error) {
	query := "SHOW VITESS_KEYSPACES"
	if v.PlainMySQL {
		query = "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
	}
	keyspaces, err := v.names(ctx, query)
	slices.Sort(keyspaces)
	return keyspaces, err
}

// VitessShards returns the names of the Vitess shards of a keyspace, such as -80 and 80-, in the order of their key
// ranges. A keyspace that does not exist is an error that lists those that do.
func (v *Vitess) VitessShards(ctx context.Context, keyspace string) ([]string, error) {
	if v.PlainMySQL {
		return []string{""}, v.checkDatabase(ctx, keyspace)
	}
	all, err := v.names(ctx, "SHOW VITESS_SHARDS")
	if err != nil {
		return nil, err
	}
	var shards []string
	for _, name := range all {
		if of, shard, _ := strings.Cut(name, "/"); of == keyspace {
			shards = append(shards, shard)
		}
	}
	if len(shards) > 0 {
		slices.Sort(shards)
		return shards, nil
	}
	keyspaces, err := v.Keyspaces(ctx)
	if err != nil {
		return nil, err
	}
	if slices.Contains(keyspaces, keyspace) {
		return nil, fmt.Errorf("keyspace %s has no Vitess shard: start its vttablets", keyspace)
	}
	return nil, fmt.Errorf("there is no keyspace %s, there are %s: create it (vtctldclient CreateKeyspace), or name another (--keyspace, --global-keyspace, --visibility-keyspace)",
		keyspace, strings.Join(keyspaces, ", "))
}

// checkDatabase returns an error unless a MySQL server has a database.
func (v *Vitess) checkDatabase(ctx context.Context, name string) error {
	databases, err := v.Keyspaces(ctx)
	if err != nil || slices.Contains(databases, name) {
		return err
	}
	return fmt.Errorf("a MySQL server answers, not a vtgate, and has no database %s, but %s: create it (CREATE DATABASE %s CHARACTER SET utf8mb4), or name another (--keyspace, --global-keyspace, --visibility-keyspace); "+
		"for keyspaces of Vitess, check --endpoint and --port (vtgate's MySQL port)", name, strings.Join(databases, ", "), quote(name))
}

// Place is a Vitess shard of a keyspace for the reader, or a database of a MySQL server.
func (v *Vitess) Place(keyspace, vitessShard string) string {
	if v.PlainMySQL {
		return "database " + keyspace
	}
	return "Vitess shard " + keyspace + "/" + vitessShard
}

func (v *Vitess) names(ctx context.Context, query string) ([]string, error) {
	names, err := Column(ctx, v.DB, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	return names, nil
}

// On calls do with a session that sends its statements, as they are, to one Vitess shard's primary. On one Vitess shard
// a statement sees what mysqld has, such as its information_schema, with DATABASE() as the schema.
func (v *Vitess) On(ctx context.Context, keyspace, vitessShard string, do func(*sql.Conn) error) error {
	if v.PlainMySQL {
		return v.In(ctx, keyspace, do)
	}
	return v.In(ctx, keyspace+":"+vitessShard, do)
}

// In calls do with a session of its own whose target is a keyspace, or one of its Vitess shards (see [Vitess.On]).
func (v *Vitess) In(ctx context.Context, target string, do func(*sql.Conn) error) error {
	session, err := v.DB.Conn(ctx)
	if err != nil {
		return vtgates.Explain(err, options)
	}
	// The session's target and settings must not get back into the pool.
	defer func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }()
	if _, err := session.ExecContext(ctx, "USE `"+target+"`"); err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	return do(session)
}
