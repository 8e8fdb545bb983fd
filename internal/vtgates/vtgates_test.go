package vtgates

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/mysql"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/vtenv"
)

// vtgate is a MySQL listener of Vitess'. It counts the sessions that it opens.
type vtgate struct {
	mysql.Handler
	address string
	opened  atomic.Int32
}

func (g *vtgate) Env() *vtenv.Environment                                          { return vtenv.NewTestEnv() }
func (g *vtgate) NewConnection(*mysql.Conn)                                        { g.opened.Add(1) }
func (g *vtgate) ConnectionReady(*mysql.Conn)                                      {}
func (g *vtgate) ConnectionClosed(*mysql.Conn)                                     {}
func (g *vtgate) WarningCount(*mysql.Conn) uint16                                  { return 0 }
func (g *vtgate) ComQuery(*mysql.Conn, string, func(*sqltypes.Result) error) error { return nil }

func listen(t *testing.T, auth mysql.AuthServer) *vtgate {
	t.Helper()
	g := &vtgate{}
	listener, err := mysql.NewListener("tcp", "127.0.0.1:0", auth, g, 0, 0, false, false, 0, 0, false)
	require.NoError(t, err)
	g.address = listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		listener.Accept()
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return g
}

func newConnector(t *testing.T, addresses ...string) *Connector {
	t.Helper()
	cfg := driver.NewConfig()
	cfg.User = "temporal"
	c, err := NewConnector(cfg, func() string { return strings.Join(addresses, ", ") })
	require.NoError(t, err)
	return c
}

func connect(t *testing.T, c *Connector) {
	t.Helper()
	conn, err := c.Connect(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// closed returns an address where nobody listens.
func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

func TestConnectionsSpreadOverThoseThatAnswer(t *testing.T) {
	first, second := listen(t, mysql.NewAuthServerNone()), listen(t, mysql.NewAuthServerNone())
	c := newConnector(t, first.address, closed(t), second.address)
	for range 12 {
		connect(t, c)
	}
	require.EqualValues(t, 12, first.opened.Load()+second.opened.Load())
	require.Positive(t, first.opened.Load())
	require.Positive(t, second.opened.Load())
}

func TestANameMayStandForSeveral(t *testing.T) {
	g := listen(t, mysql.NewAuthServerNone())
	_, port, err := net.SplitHostPort(g.address)
	require.NoError(t, err)
	c := newConnector(t, net.JoinHostPort("vtgate", port), net.JoinHostPort("gone", port))
	c.lookup = func(_ context.Context, host string) ([]string, error) {
		if host == "gone" {
			return nil, errors.New("no such host")
		}
		return []string{"127.0.0.2", "127.0.0.1"}, nil // nobody listens at the first
	}
	for range 4 {
		connect(t, c)
	}
	require.EqualValues(t, 4, g.opened.Load())
	require.Len(t, c.failed, 1)
}

func TestOneThatDidNotAnswerIsLeftAlone(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes connections, and says nothing
	require.NoError(t, err)
	defer silent.Close()
	g := listen(t, mysql.NewAuthServerNone())
	c := newConnector(t, g.address, silent.Addr().String()) // the second is first in turn
	connect(t, c)
	require.Contains(t, c.failed, silent.Addr().String())
	for range 4 {
		servers, err := c.candidates(t.Context())
		require.NoError(t, err)
		require.Equal(t, g.address, servers[0].address)
		require.Len(t, servers, 2, "it is asked last")
	}
	c.failed[silent.Addr().String()] = time.Now()
	servers, err := c.candidates(t.Context())
	require.NoError(t, err)
	next, err := c.candidates(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, servers[0], next[0], "after a while it has its turn again")
}

func TestAnAnswerIsBelieved(t *testing.T) {
	users := mysql.NewAuthServerStatic("", `{"temporal": [{"Password": "secret"}]}`, 0)
	strict, other := listen(t, users), listen(t, mysql.NewAuthServerNone())
	c := newConnector(t, other.address, strict.address)
	_, err := c.Connect(t.Context())
	var answer *driver.MySQLError
	require.ErrorAs(t, err, &answer)
	require.EqualValues(t, 1045, answer.Number)
	require.Zero(t, other.opened.Load())
}

func TestNobodyAnswers(t *testing.T) {
	_, err := newConnector(t, closed(t), closed(t)).Connect(t.Context())
	require.ErrorContains(t, err, "connection refused")

	c := newConnector(t, "gone:3306")
	c.lookup = func(context.Context, string) ([]string, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "gone"}
	}
	_, err = c.Connect(t.Context())
	require.EqualError(t, err, "dial tcp: lookup gone: no such host")
}

func TestAddressesThatCannotBe(t *testing.T) {
	for _, address := range []string{"vtgate", "vtgate:3306,", "a:1,b"} {
		_, err := NewConnector(driver.NewConfig(), func() string { return address })
		require.ErrorContains(t, err, "connectAddr: ", address)
	}
	socket := driver.NewConfig()
	socket.Net = "unix"
	c, err := NewConnector(socket, func() string { return "/tmp/mysql,1.sock" })
	require.NoError(t, err)
	servers, err := c.candidates(t.Context())
	require.NoError(t, err)
	require.Equal(t, []server{{address: "/tmp/mysql,1.sock"}}, servers)
}
