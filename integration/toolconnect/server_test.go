package toolconnect

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const (
	serverBinary = "../../.tools/bin/temporal-server"
	// startPatience is for a start that fails: a store waits 10 s for a vtgate that says nothing, more than once.
	startPatience = 2 * time.Minute
)

// lastWords starts a server, which has to fail, and returns the last line that it prints.
func lastWords(t *testing.T, address string, environment ...string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), startPatience)
	defer cancel()
	process := exec.CommandContext(ctx, serverBinary, "start")
	var out bytes.Buffer
	process.Stdout, process.Stderr = &out, &out
	process.Env = append(os.Environ(), "DB=vitess", "MYSQL_SEEDS="+host, "DB_PORT="+port, "MYSQL_USER="+user, "DBNAME="+testbed.Main)
	process.Env = append(process.Env, environment...)
	require.Error(t, process.Run())
	require.NoError(t, ctx.Err(), "it goes on: %s", out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1]
}

func TestServersSayLastWhyTheyCannotStart(t *testing.T) {
	certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	require.NoError(t, err)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	withPassword := vtgateServer(t, nil, false)
	onlyTLS := vtgateServer(t, &tls.Config{Certificates: []tls.Certificate{certificate}}, true)
	const setUp = "if the keyspaces are new, set them up with temporal-vitess-tool setup-schema"
	for _, test := range []struct {
		name        string
		address     string
		environment []string
		says        string
	}{
		{"nobody listens", closed.Addr().String(), nil,
			"main store: nobody answers as vtgate: dial tcp " + closed.Addr().String() + ": connect: connection refused: check connectAddr (MYSQL_SEEDS, DB_PORT) (vtgate's MySQL port)"},
		{"no such host", "no-such-host.invalid:3306", nil, "check connectAddr (MYSQL_SEEDS, DB_PORT)"},
		{"the port of HTTP", running.HTTPAddr(), nil, "check connectAddr (MYSQL_SEEDS, DB_PORT) (vtgate's MySQL port, not that of gRPC or HTTP)"},
		{"wrong password", withPassword, []string{"MYSQL_PWD=wrong"},
			"vtgate refuses the login: Error 1045 (28000): Access denied for user 'temporal': check user (MYSQL_USER) and password (MYSQL_PWD) or passwordCommand"},
		{"TLS where vtgate has none", withPassword, []string{"MYSQL_PWD=" + password, "SQL_TLS_ENABLED=true"},
			"TLS requested but server does not support TLS: leave out tls.enabled (SQL_TLS_ENABLED)"},
		{"no TLS where vtgate wants it", onlyTLS, []string{"MYSQL_PWD=" + password}, "vtgate takes sessions with TLS only: set tls.enabled (SQL_TLS_ENABLED)"},
		{"another authority", running.VTGateAddr(), []string{"SQL_TLS_ENABLED=true", "SQL_CA=" + strangers.Authority, "SQL_HOST_VERIFICATION=true", "SQL_HOST_NAME=vtgate.test"},
			"give the authority that signed it (tls.caFile, SQL_CA)"},
		{"no such keyspace", running.VTGateAddr(), []string{"DBNAME=nowhere"},
			"create the keyspace (vtctldclient CreateKeyspace), or check databaseName (DBNAME) and vitess_global_keyspace (VITESS_GLOBAL_KEYSPACE)"},
		{"no such global keyspace", running.VTGateAddr(), []string{"VITESS_GLOBAL_KEYSPACE=nowhere"}, "check databaseName (DBNAME) and vitess_global_keyspace (VITESS_GLOBAL_KEYSPACE)"},
		{"no tables", running.VTGateAddr(), nil, setUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			last := lastWords(t, test.address, test.environment...)
			require.Contains(t, last, test.says)
			if test.says != setUp {
				require.NotContains(t, last, "setup-schema")
			}
		})
	}
}

// Both notations of an IPv6 address reach the server that refuses the login.
func TestIPv6(t *testing.T) {
	if listener, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6: ", err)
	} else {
		require.NoError(t, listener.Close())
	}
	address := vtgateServerAt(t, "[::1]:0", nil, false)
	const refused = "Access denied for user 'temporal'"
	require.Contains(t, lastWords(t, address), refused)
	require.Contains(t, lastWords(t, address, "MYSQL_SEEDS=[::1]"), refused)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	for _, host := range []string{"::1", "[::1]"} {
		app := command.New()
		app.Writer, app.ErrWriter = io.Discard, io.Discard
		err := app.RunContext(t.Context(), []string{"temporal-vitess-tool", "--endpoint", host, "--port", port, "--user", user, "rehash-task-queues", "--dry-run"})
		require.ErrorContains(t, err, refused)
	}
}
