package onedatabase

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

const startTimeout = 2 * time.Minute

// setup is a set-up in one or two databases.
type setup struct {
	// main has main store and global tables.
	main, visibility string
	plain            bool
}

// Set-ups by name.
var (
	oneKeyspace  = setup{main: "one", visibility: "one"}
	twoKeyspaces = setup{main: "pair", visibility: "pair_visibility"}
	oneDatabase  = setup{main: "one", visibility: "one", plain: true}
	twoDatabases = setup{main: "pair", visibility: "pair_visibility", plain: true}
)

// wide is a keyspace with two Vitess shards.
const wide = "wide"

var running *cluster.Cluster

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	running, err = cluster.Start(ctx, cluster.Config{Keyspaces: []cluster.Keyspace{
		{Name: oneKeyspace.main, Shards: 1},
		{Name: twoKeyspaces.main, Shards: 1},
		{Name: twoKeyspaces.visibility, Shards: 1},
		{Name: wide, Shards: 2},
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := running.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// address is that of the server, with a user.
func (s setup) address() (addr, user string) {
	if s.plain {
		_, addr, user = running.MySQL()
		return addr, user
	}
	return running.VTGateAddr(), "temporal"
}

// create creates the databases of a set-up without Vitess.
func (s setup) create(t *testing.T) {
	t.Helper()
	if !s.plain {
		return
	}
	require.NoError(t, running.CreateDatabase(t.Context(), s.main, nil))
	if s.visibility != s.main {
		require.NoError(t, running.CreateDatabase(t.Context(), s.visibility, nil))
	}
}

// tool runs a command and returns what it printed.
func (s setup) tool(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	addr, user := s.address()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	err = app.RunContext(t.Context(), append([]string{
		"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", user,
		"--keyspace", s.main, "--global-keyspace", s.main, "--visibility-keyspace", s.visibility,
	}, arguments...))
	return out.String(), err
}

// stores configure a server.
func (s setup) stores() (main, visibility *config.SQL) {
	addr, user := s.address()
	store := func(database string, attributes map[string]string) *config.SQL {
		attributes["vitess_unknown_statements"] = "reject"
		return &config.SQL{
			PluginName: plugin.Name, DatabaseName: database, ConnectAddr: addr, ConnectProtocol: "tcp", User: user,
			ConnectAttributes: attributes, MaxConns: 20, MaxIdleConns: 20,
		}
	}
	return store(s.main, map[string]string{"vitess_global_keyspace": s.main}), store(s.visibility, map[string]string{})
}

// execute executes statements in a database of the MySQL server.
func execute(t *testing.T, database string, statements ...string) {
	t.Helper()
	_, addr, user := running.MySQL()
	db, err := cluster.Open(user, addr, database)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, cluster.ExecDDL(t.Context(), db, statements))
}
