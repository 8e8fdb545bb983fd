// Package live looks at a running Vitess as the tool needs it: through vtgate, as a Temporal server does, and through
// vtctld where its address is known.
package live

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"vitess.io/vitess/go/vt/vtctl/vtctldclient"
)

// connectTimeout bounds a login, including the command that yields the password: who is no vtgate may never answer.
const connectTimeout = 30 * time.Second

// Vitess is a running Vitess. Its methods may be called from several goroutines.
type Vitess struct {
	// DB is a pool of connections to vtgate, without a default keyspace.
	DB *sql.DB
	// VTCtld is nil where its address is not known; PlanetScale, for one, has none to offer.
	VTCtld vtctldclient.VtctldClient
}

// Open connects to vtgate and, if its address is not empty, to vtctld. An error names the option of the tool that has to
// change.
func Open(ctx context.Context, vtgate driver.Connector, vtctld string) (*Vitess, error) {
	db, err := Connect(ctx, vtgate)
	if err != nil {
		return nil, err
	}
	v := &Vitess{DB: db}
	is, err := IsVTGate(ctx, db)
	if err == nil && !is {
		err = errors.New("a MySQL server answers, not a vtgate: check --endpoint and --port (vtgate's MySQL port)")
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
		return nil, errors.Join(explain(err), db.Close())
	}
	return db, nil
}

// IsVTGate reports whether a server is a vtgate, which the version it gives need not say.
func IsVTGate(ctx context.Context, db *sql.DB) (bool, error) {
	const syntaxError = 1064
	_, err := (&Vitess{DB: db}).Keyspaces(ctx)
	if server, ok := errors.AsType[*mysql.MySQLError](err); ok && server.Number == syntaxError {
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

// explain says what to do about an error of connecting.
func explain(err error) error {
	const (
		accessDenied            = 1045
		secureTransportRequired = 3159 // MySQL's; vtgate has a text
	)
	server, refused := errors.AsType[*mysql.MySQLError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, lookup := errors.AsType[*net.DNSError](err)
	_, dial := errors.AsType[*net.OpError](err)
	_, command := errors.AsType[*exec.ExitError](err)
	switch {
	case command:
		return fmt.Errorf("no password: %w: check --password-command", err)
	case refused && server.Number == accessDenied:
		return fmt.Errorf("vtgate refuses the login: %w: check --user and --password or --password-command", err)
	case refused && (server.Number == secureTransportRequired || strings.Contains(server.Message, "must use SSL/TLS")):
		return errors.New("vtgate takes sessions with TLS only: give --tls")
	case errors.Is(err, mysql.ErrNoTLS):
		return fmt.Errorf("%w: leave out --tls, or start vtgate with --mysql-server-ssl-cert and --mysql-server-ssl-key", err)
	case certificate:
		return fmt.Errorf("vtgate's certificate: %w: give the authority that signed it (--tls-ca-file) and the name in it (--tls-server-name)", err)
	case errors.Is(err, mysql.ErrInvalidConn):
		return fmt.Errorf("vtgate ends the connection during the login: %w: check whether it wants a certificate (--tls-cert-file, --tls-key-file), and --port (vtgate's MySQL port)", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no vtgate answers in time: %w: check --endpoint and --port (vtgate's MySQL port, not that of gRPC or HTTP), and firewalls", err)
	case lookup:
		return fmt.Errorf("vtgate's host is not known: %w: check --endpoint", err)
	case dial:
		return fmt.Errorf("nobody answers as vtgate: %w: check --endpoint and --port (vtgate's MySQL port)", err)
	default:
		return fmt.Errorf("connect to vtgate: %w", err)
	}
}

// Keyspaces returns the names of all keyspaces, in order.
func (v *Vitess) Keyspaces(ctx context.Context) ([]string, error) {
	keyspaces, err := v.names(ctx, "SHOW VITESS_KEYSPACES")
	slices.Sort(keyspaces)
	return keyspaces, err
}

// VitessShards returns the names of the Vitess shards of a keyspace, such as -80 and 80-, in the order of their key
// ranges. A keyspace that does not exist is an error that lists those that do.
func (v *Vitess) VitessShards(ctx context.Context, keyspace string) ([]string, error) {
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

func (v *Vitess) names(ctx context.Context, query string) ([]string, error) {
	rows, err := v.DB.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// On calls do with a session that sends its statements, as they are, to one Vitess shard's primary. On one Vitess shard
// a statement sees what mysqld has, such as its information_schema, with DATABASE() as the schema.
func (v *Vitess) On(ctx context.Context, keyspace, vitessShard string, do func(*sql.Conn) error) error {
	return v.In(ctx, keyspace+":"+vitessShard, do)
}

// In calls do with a session of its own whose target is a keyspace, or one of its Vitess shards (see [Vitess.On]).
func (v *Vitess) In(ctx context.Context, target string, do func(*sql.Conn) error) error {
	session, err := v.DB.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	// The session's target and settings must not get back into the pool.
	defer func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }()
	if _, err := session.ExecContext(ctx, "USE `"+target+"`"); err != nil {
		return fmt.Errorf("target %s: %w", target, err)
	}
	return do(session)
}
