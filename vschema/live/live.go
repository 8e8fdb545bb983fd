// Package live looks at a running Vitess as the tool needs it: through vtgate, as a Temporal server does, and through
// vtctld where its address is known.
package live

import (
	"context"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"vitess.io/vitess/go/vt/vtctl/vtctldclient"
)

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
	v := &Vitess{DB: sql.OpenDB(vtgate)}
	if err := v.DB.PingContext(ctx); err != nil {
		return nil, errors.Join(explain(err), v.Close())
	}
	if vtctld == "" {
		return v, nil
	}
	var err error
	if v.VTCtld, err = dialVTCtld(ctx, vtctld); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
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
	var (
		server      *mysql.MySQLError
		dial        *net.OpError
		lookup      *net.DNSError
		certificate *x509.UnknownAuthorityError
		hostname    x509.HostnameError
	)
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return fmt.Errorf("%w: leave out --tls, or start vtgate with --mysql-server-ssl-cert and --mysql-server-ssl-key", err)
	case errors.As(err, &certificate), errors.As(err, &hostname):
		return fmt.Errorf("vtgate's certificate: %w: give --tls-ca-file, --tls-server-name", err)
	case errors.As(err, &server) && server.Number == 1045:
		return fmt.Errorf("vtgate refuses the login: %w: check --user and --password or --password-command", err)
	case errors.As(err, &lookup):
		return fmt.Errorf("vtgate's host is not known: %w: check --endpoint", err)
	case errors.As(err, &dial):
		return fmt.Errorf("nobody answers as vtgate: %w: check --endpoint and --port (vtgate's MySQL port)", err)
	default:
		return fmt.Errorf("connect to vtgate: %w", err)
	}
}

// Keyspaces returns the names of all keyspaces, in order.
func (v *Vitess) Keyspaces(ctx context.Context) ([]string, error) {
	return v.names(ctx, "SHOW VITESS_KEYSPACES")
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
	session, err := v.DB.Conn(ctx)
	if err != nil {
		return explain(err)
	}
	// The session's target must not get back into the pool.
	defer func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }()
	if _, err := session.ExecContext(ctx, "USE `"+keyspace+":"+vitessShard+"`"); err != nil {
		return fmt.Errorf("Vitess shard %s/%s: %w", keyspace, vitessShard, err)
	}
	return do(session)
}
