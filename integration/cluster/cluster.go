package cluster

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// Config says what Start brings up.
type Config struct {
	Keyspaces []Keyspace
	// Replicas is the number of tablets of each Vitess shard beside its primary. They serve, but replicate nothing: they
	// share the primary's mysqld.
	Replicas int
	// VTComboFlags are added to those of vtcombo, which holds vtgate, vtctld and all vttablets; of a flag that is given
	// twice, the last counts. Files that they name have to be readable for everybody.
	VTComboFlags []string
	// Log receives the output of vttestserver, vtcombo and mysqlctl, one write a line, from a goroutine of the cluster.
	// May be nil: the last errors are part of the error of Start anyway.
	Log io.Writer
}

// Keyspace is one keyspace, with its schema.
type Keyspace struct {
	Name string
	// Shards is the number of Vitess shards, of equal key ranges: at least 1, at most 256.
	Shards int
	// VSchema is the keyspace's VSchema as JSON. Empty means what a new keyspace has: none, which says unsharded.
	VSchema []byte
	// DDL are statements that mysqld executes in the database of each Vitess shard, in this order. So an INSERT belongs into
	// the DDL of an unsharded keyspace only.
	DDL []string
}

// Cluster is a running local Vitess. Its methods may be called from several goroutines.
type Cluster struct {
	process *process
	ports   listening
	stop    func() error
}

// Start returns when vtgate serves and all schema is applied. The context limits the start, not the life of the cluster.
// After an error nothing is left behind; where a program of Vitess failed, the error holds what it said.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start a local Vitess: %w", err)
	}
	return c, nil
}

func start(ctx context.Context, cfg Config) (*Cluster, error) {
	if err := validate(cfg.Keyspaces); err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	tools, err := findTools(dir)
	if err != nil {
		return nil, err
	}
	folder, err := supervise.MakeFolder()
	if err != nil {
		return nil, err
	}
	var p *process
	if err = stage(folder, tools, cfg); err == nil {
		p, err = startProcess(folder, environment(folder, tools), commandLine(folder, tools, cfg), cfg.Log)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}

	c := &Cluster{process: p, stop: sync.OnceValue(p.stop)}
	if err := c.bringUp(ctx, cfg.Keyspaces); err != nil {
		err = errors.Join(err, c.Stop())
		if len(p.complaint) > 0 {
			err = fmt.Errorf("%w\nlast errors in its log:\n  %s", err, strings.Join(p.complaint, "\n  "))
		}
		return nil, err
	}
	return c, nil
}

func validate(keyspaces []Keyspace) error {
	if len(keyspaces) == 0 {
		return errors.New("no keyspace given")
	}
	for _, keyspace := range keyspaces {
		if keyspace.Name == "" {
			return errors.New("a keyspace without a name")
		}
		if keyspace.Shards < 1 || keyspace.Shards > 256 {
			return fmt.Errorf("keyspace %s: %d Vitess shards; must be 1 to 256", keyspace.Name, keyspace.Shards)
		}
		// vtcombo says so as well, unless it panics before, while it ends.
		if len(keyspace.VSchema) > 0 && !json.Valid(keyspace.VSchema) {
			return fmt.Errorf("keyspace %s: its VSchema is not JSON", keyspace.Name)
		}
	}
	return nil
}

func (c *Cluster) bringUp(ctx context.Context, keyspaces []Keyspace) error {
	select {
	case c.ports = <-c.process.listening:
	case <-c.process.program.Ended():
		return errors.New("vttestserver ended")
	case <-ctx.Done():
		return fmt.Errorf("vttestserver is not up yet: %w", ctx.Err())
	}

	return c.applySchema(ctx, keyspaces)
}

// Stop ends all programs of the cluster and removes its data. It may be called more than once.
func (c *Cluster) Stop() error {
	return c.stop()
}

// VTGateAddr is the host:port where vtgate speaks the MySQL protocol. It accepts any user, with any password.
func (c *Cluster) VTGateAddr() string {
	return address(c.ports.VTGate)
}

// VTCtldAddr is the host:port where vtctld speaks gRPC, for vtctldclient.
func (c *Cluster) VTCtldAddr() string {
	return address(c.ports.GRPC)
}

// HTTPAddr is the host:port of the status pages of vtgate and all vttablets, such as /debug/vars.
func (c *Cluster) HTTPAddr() string {
	return address(c.ports.HTTP)
}

// MySQL is how to reach the mysqld below Vitess with the Go driver: a user without a password who may do everything. The
// data of a Vitess shard is in database vt_<keyspace>_<key range>, as in vt_temporal_-80; with a single Vitess shard in
// vt_<keyspace>_0.
func (c *Cluster) MySQL() (network, addr, user string) {
	return "tcp", address(c.ports.MySQL), "vt_dba_tcp"
}

// CreateDatabase creates an empty database on the mysqld and executes the statements in it: a plain MySQL without Vitess
// on the same server, to compare with. MySQL says how to reach it.
func (c *Cluster) CreateDatabase(ctx context.Context, name string, ddl []string) error {
	_, addr, user := c.MySQL()
	server, err := Open(user, addr, "")
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.ExecContext(ctx, "CREATE DATABASE `"+strings.ReplaceAll(name, "`", "``")+"`"); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	if err := c.execDDL(ctx, name, ddl); err != nil {
		return fmt.Errorf("database %s: %w", name, err)
	}
	return nil
}

// Open is for vtgate and for mysqld alike. It does not connect yet.
func Open(user, addr, database string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.DBName = "tcp", addr, user, database
	cfg.Logger = &mysql.NopLogger{} // connection errors while vtgate comes up are returned as well
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
