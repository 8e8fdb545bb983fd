package toolconnect

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"
	"vitess.io/vitess/go/mysql"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/vtenv"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// try runs a command that only reads, and returns its output.
func try(ctx context.Context, address string, flags ...string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	app := command.New()
	app.Writer, app.ErrWriter = &out, &out
	arguments := append([]string{"temporal-vitess-tool", "--endpoint", host, "--port", port}, flags...)
	err = app.RunContext(ctx, append(arguments, "rehash-task-queues", "--dry-run"))
	return out.String(), err
}

const works = "tasks: 0 tasks of 0 subqueues to move"

func TestRefusedLogins(t *testing.T) {
	certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	require.NoError(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())

	withPassword := vtgateServer(t, nil, false)
	onlyTLS := vtgateServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, true)
	wantsCertificate := vtgateServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert}, false)
	const wrongPort = "no vtgate answers in time: context deadline exceeded: check --endpoint and --port (vtgate's MySQL port, not that of gRPC or HTTP), and firewalls"
	for _, test := range []struct {
		name    string
		address string
		flags   []string
		says    string
	}{
		{"nobody listens", closed.Addr().String(), nil,
			"nobody answers as vtgate: dial tcp " + closed.Addr().String() + ": connect: connection refused: check --endpoint and --port (vtgate's MySQL port)"},
		{"no such host", "no-such-host.invalid:3306", nil, "vtgate's host is not known: dial tcp: lookup no-such-host.invalid"},
		{"a port that says nothing", silent.Addr().String(), nil, wrongPort},
		{"the port of gRPC", running.VTCtldAddr(), nil, wrongPort},
		{"the port of HTTP", running.HTTPAddr(), nil, wrongPort},

		{"wrong password", withPassword, []string{"--user", user, "--password", "wrong"},
			"vtgate refuses the login: Error 1045 (28000): Access denied for user 'temporal': check --user and --password or --password-command"},
		{"no password", withPassword, []string{"--user", user}, "Access denied for user 'temporal': check --user and --password"},
		{"wrong user", withPassword, []string{"--user", "other", "--password", password}, "Access denied for user 'other': check --user"},
		{"a password command that fails", withPassword, []string{"--user", user, "--password-command", "echo expired >&2; exit 3"},
			"exit status 3 (stderr: expired\n): check --password-command"},

		{"TLS where vtgate has none", withPassword, []string{"--tls"},
			"TLS requested but server does not support TLS: leave out --tls, or start vtgate with --mysql-server-ssl-cert and --mysql-server-ssl-key"},
		{"no TLS where vtgate wants it", onlyTLS, nil, "vtgate takes sessions with TLS only: give --tls"},
		{"no certificate where vtgate wants one", wantsCertificate, []string{"--tls", "--tls-disable-host-verification"},
			"check whether it wants a certificate (--tls-cert-file and --tls-key-file)"},
		{"an authority that nobody knows", running.VTGateAddr(), []string{"--tls", "--tls-server-name", "vtgate.test"},
			"certificate signed by unknown authority: give the authority that signed it (--tls-ca-file) and the name in it (--tls-server-name)"},
		{"another authority", running.VTGateAddr(), []string{"--tls", "--tls-server-name", "vtgate.test", "--tls-ca-file", strangers.Authority}, "give the authority that signed it (--tls-ca-file)"},
		{"another name", running.VTGateAddr(), []string{"--tls", "--tls-ca-file", files.Authority, "--tls-server-name", "other.test"},
			"certificate is valid for vtgate.test, not other.test: give the authority that signed it (--tls-ca-file) and the name in it (--tls-server-name)"},
		{"the endpoint is not the name", running.VTGateAddr(), []string{"--tls", "--tls-ca-file", files.Authority}, "and the name in it (--tls-server-name)"},
		{"no file with the authority", running.VTGateAddr(), []string{"--tls", "--tls-ca-file", "/nowhere/ca.pem"}, "open /nowhere/ca.pem: no such file"},

		{"no such keyspace", running.VTGateAddr(), []string{"--keyspace", "nowhere"},
			"there is no keyspace nowhere, there are temporal, temporal_global: create it (vtctldclient CreateKeyspace), or name another (--keyspace"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := try(ctx, test.address, test.flags...)
			require.ErrorContains(t, err, test.says)
			require.Empty(t, out)
		})
	}
}

// TestNeedsVTGate opens what the commands need that are not for MySQL without Vitess.
func TestNeedsVTGate(t *testing.T) {
	open := func(address, user, vtctld string) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		connector, err := plugin.NewConnector(&config.SQL{ConnectAddr: address, User: user}, resolver.NewNoopResolver())
		require.NoError(t, err)
		opened, err := live.Open(ctx, connector, vtctld)
		if err == nil {
			require.NoError(t, opened.Close())
		}
		return err
	}
	_, address, user := running.MySQL()
	require.EqualError(t, open(address, user, ""), "a MySQL server answers, not a vtgate: check --endpoint and --port (vtgate's MySQL port)")
	require.ErrorContains(t, open(address, "nobody", ""), "refuses the login: Error 1045 (28000): Access denied for user 'nobody'@")

	require.NoError(t, open(running.VTGateAddr(), user, running.VTCtldAddr()))
	for _, other := range []string{running.VTGateAddr(), running.HTTPAddr(), "127.0.0.1:1", "no-such-host.invalid:15999"} {
		err := open(running.VTGateAddr(), user, other)
		require.ErrorContains(t, err, "vtctld at "+other+": ")
		require.ErrorContains(t, err, "check --vtctld (host:port of vtctld's gRPC) and --vtctld-grpc-ca")
	}
}

func TestLogins(t *testing.T) {
	withPassword := vtgateServer(t, nil, false)
	const loggedIn = "there is no keyspace temporal" // the server has none
	for _, flags := range [][]string{
		{"--user", user, "--password", password},
		{"--user", user, "--password-command", "echo '" + password + "'"},
	} {
		_, err := try(t.Context(), withPassword, flags...)
		require.ErrorContains(t, err, loggedIn)
	}

	for _, flags := range [][]string{
		nil,
		{"--tls", "--tls-ca-file", files.Authority, "--tls-server-name", "vtgate.test"},
		{"--tls", "--tls-disable-host-verification"},
	} {
		out, err := try(t.Context(), running.VTGateAddr(), flags...)
		require.NoError(t, err)
		require.Contains(t, out, works)
	}
}

// TestLoginByEnvironment has upstream's variables instead of flags.
func TestLoginByEnvironment(t *testing.T) {
	run := func() error {
		app := command.New()
		app.Writer, app.ErrWriter = io.Discard, io.Discard
		return app.RunContext(t.Context(), []string{"temporal-vitess-tool", "rehash-task-queues", "--dry-run"})
	}
	address := func(address string) {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		t.Setenv("SQL_HOST", host)
		t.Setenv("SQL_PORT", port)
	}
	address(vtgateServer(t, nil, false))
	t.Setenv("SQL_USER", user)
	require.ErrorContains(t, run(), "Access denied")
	t.Setenv("SQL_PASSWORD_COMMAND", "echo '"+password+"'")
	t.Setenv("SQL_DATABASE", "elsewhere")
	require.ErrorContains(t, run(), "there is no keyspace elsewhere")
	t.Setenv("SQL_PASSWORD", password)
	require.ErrorContains(t, run(), "--password and --password-command exclude each other")

	t.Setenv("SQL_PASSWORD_COMMAND", "")
	t.Setenv("SQL_DATABASE", "temporal")
	address(running.VTGateAddr())
	t.Setenv("SQL_TLS", "true")
	require.ErrorContains(t, run(), "give the authority that signed it")
	t.Setenv("SQL_TLS_CA_FILE", files.Authority)
	t.Setenv("SQL_TLS_SERVER_NAME", "vtgate.test")
	require.NoError(t, run())
}

const (
	// patience is for what does not answer.
	patience = 2 * time.Second

	user     = "temporal"
	password = "p@ss:word/1"
)

// vtgateServer runs the MySQL server of vtgate, with a password, without a vtgate behind: it has no keyspaces.
func vtgateServer(t *testing.T, config *tls.Config, requireTLS bool) string {
	t.Helper()
	return vtgateServerAt(t, "127.0.0.1:0", config, requireTLS)
}

func vtgateServerAt(t *testing.T, address string, config *tls.Config, requireTLS bool) string {
	t.Helper()
	users := mysql.NewAuthServerStatic("", fmt.Sprintf(`{%q: [{"Password": %q}]}`, user, password), 0)
	listener, err := mysql.NewListener("tcp", address, users, handler{}, 0, 0, false, false, 0, 0, true)
	require.NoError(t, err)
	listener.RequireSecureTransport = requireTLS
	if config != nil {
		listener.TLSConfig.Store(config)
	}
	go listener.Accept()
	t.Cleanup(listener.Close)
	return listener.Addr().String()
}

// handler answers all statements with no rows.
type handler struct {
	mysql.Handler
}

func (handler) NewConnection(c *mysql.Conn)       {}
func (handler) ConnectionReady(c *mysql.Conn)     {}
func (handler) ConnectionClosed(c *mysql.Conn)    {}
func (handler) WarningCount(c *mysql.Conn) uint16 { return 0 }
func (handler) Env() *vtenv.Environment           { return vtenv.NewTestEnv() }

func (handler) ComQuery(c *mysql.Conn, query string, callback func(*sqltypes.Result) error) error {
	return callback(&sqltypes.Result{})
}

func (handler) ComQueryMulti(c *mysql.Conn, query string, callback func(sqltypes.QueryResponse, bool, bool) error) error {
	return callback(sqltypes.QueryResponse{QueryResult: &sqltypes.Result{}}, false, true)
}
