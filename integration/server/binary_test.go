package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/certificates"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	binary = "../../.tools/bin/temporal-server"
	// healthPatience is for all services to serve.
	healthPatience = 2 * time.Minute
)

// running is a process of the server binary, configured as users do: by config/vitess.yaml and the environment. Its one
// visibility store is of profile spread.
type running struct {
	*Server
	process     *exec.Cmd
	environment []string
	// alive ends with the process, whose error is in ended.
	alive context.Context
	ended chan error
}

// startBinary starts the binary with further environment variables.
func startBinary(t *testing.T, vitess *testbed.Testbed, more ...string) *running {
	t.Helper()
	ports, err := freePorts(portCount)
	require.NoError(t, err)
	vtgateHost, vtgatePort, err := net.SplitHostPort(vitess.VTGateAddr())
	require.NoError(t, err)
	r := &running{
		Server:      &Server{frontend: net.JoinHostPort(host, strconv.Itoa(ports[0])), logger: newLogger(nil)},
		environment: append(os.Environ(), more...),
		ended:       make(chan error, 1),
	}
	for name, value := range map[string]string{
		"MYSQL_SEEDS":               vtgateHost,
		"DB_PORT":                   vtgatePort,
		"MYSQL_USER":                "temporal",
		"DBNAME":                    testbed.Main,
		"VISIBILITY_DBNAME":         testbed.SpreadVisibility,
		"VITESS_VISIBILITY_PROFILE": string(vschema.ProfileSpread),
		"VITESS_UNKNOWN_STATEMENTS": "reject",
		"VITESS_PIPELINING":         "off", // the tests of integration/workflows have it on
		"NUM_HISTORY_SHARDS":        "16",
		"DYNAMIC_CONFIG_FILE_PATH":  "../../config/dynamicconfig/docker.yaml",
		"BIND_ON_IP":                host,
	} {
		r.environment = append(r.environment, name+"="+value)
	}
	for i, name := range []string{
		"FRONTEND_GRPC_PORT", "FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT", "HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT",
		"MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT", "WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT",
	} {
		r.environment = append(r.environment, name+"="+strconv.Itoa(ports[i]))
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			logged, _ := os.ReadFile(log.Name())
			t.Logf("the server's last words:\n%s", logged[max(0, len(logged)-4<<10):])
		}
		log.Close()
	})
	r.process = exec.Command(binary, "--config-file", "../../config/vitess.yaml", "start")
	r.process.Env = r.environment
	r.process.Stdout, r.process.Stderr = log, log
	require.NoError(t, r.process.Start())
	t.Cleanup(func() { _ = r.process.Process.Kill() })
	var end context.CancelFunc
	r.alive, end = context.WithCancel(t.Context())
	go func() {
		r.ended <- r.process.Wait()
		end()
	}()
	return r
}

// command returns what a command prints with the server's configuration, and its error.
func (r *running) command(t *testing.T, arguments ...string) (string, error) {
	command := exec.CommandContext(t.Context(), binary, append([]string{"--config-file", "../../config/vitess.yaml"}, arguments...)...)
	command.Env = r.environment
	out, err := command.CombinedOutput()
	return string(out), err
}

func (r *running) health(t *testing.T, arguments ...string) (string, error) {
	return r.command(t, append([]string{"health"}, arguments...)...)
}

// awaitHealth returns once services serve.
func (r *running) awaitHealth(t *testing.T, services ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(r.alive, healthPatience)
	defer cancel()
	for _, service := range services {
		require.NoError(t, wait(ctx, func() error {
			out, err := r.health(t, "--service", service)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			require.Equal(t, service+": SERVING\n", out)
			return nil
		}))
	}
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, r.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-r.ended)
}

func TestBinary(t *testing.T) {
	require.FileExists(t, binary, "build it first: go build -o .tools/bin/temporal-server ./cmd/temporal-server")
	vitess, err := testbed.Start(t.Context(), 2, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, vitess.Stop()) })

	t.Run("workflows", func(t *testing.T) {
		s := startBinary(t, vitess)
		require.NoError(t, s.awaitFrontend(s.alive))
		s.awaitHealth(t, "frontend", "history", "matching", "worker")
		const namespace = "binary"
		for _, what := range []string{"created", "exists"} {
			out, err := s.command(t, "create-namespace", "--retention", "24h", namespace)
			require.NoError(t, err, out)
			require.Equal(t, "namespace binary: "+what+"\n", out)
		}
		c, err := s.Dial(namespace)
		require.NoError(t, err)
		defer c.Close()
		target := kinds.Target{Client: c, Namespace: namespace, TaskQueue: "binary"}
		w := kinds.NewWorker(target)
		require.NoError(t, w.Start())
		t.Cleanup(w.Stop)
		group, ctx := errgroup.WithContext(s.alive)
		for _, kind := range kinds.All() {
			group.Go(func() error {
				if err := kind.Run(ctx, target, 0); err != nil {
					return err
				}
				return kinds.AwaitVisible(ctx, target, kind.Leaves)
			})
		}
		require.NoError(t, group.Wait())
		w.Stop()
		s.stop(t)

		out, err := s.health(t)
		require.Error(t, err)
		require.Contains(t, out, "frontend: "+s.frontend+": ")
		require.Contains(t, out, "connection refused")
		out, err = s.health(t, "--service", "elsewhere")
		require.Error(t, err)
		require.Contains(t, out, "elsewhere: there is no such service")
		out, err = s.command(t, "create-namespace", "--timeout", "100ms", namespace)
		require.Error(t, err)
		require.Contains(t, out, "namespace binary at "+s.frontend+": ")
		out, err = s.command(t, "create-namespace")
		require.Error(t, err)
		require.Contains(t, out, "create-namespace takes the name of one namespace")
		require.NoError(t, vitess.CheckRoutes(t.Context()))
	})

	t.Run("with TLS on both sides of each connection", func(t *testing.T) {
		files, err := certificates.Write(t.TempDir(), "temporal.test")
		require.NoError(t, err)
		s := startBinary(t, vitess,
			"TEMPORAL_TLS_REQUIRE_CLIENT_AUTH=true",
			"TEMPORAL_TLS_SERVER_CA_CERT="+files.Authority, "TEMPORAL_TLS_SERVER_CERT="+files.Certificate, "TEMPORAL_TLS_SERVER_KEY="+files.Key,
			"TEMPORAL_TLS_INTERNODE_SERVER_NAME=temporal.test",
			"TEMPORAL_TLS_CLIENT1_CA_CERT="+files.Authority, "TEMPORAL_TLS_CLIENT2_CA_CERT="+files.Authority,
			"TEMPORAL_TLS_FRONTEND_CERT="+files.Certificate, "TEMPORAL_TLS_FRONTEND_KEY="+files.Key,
			"TEMPORAL_TLS_FRONTEND_SERVER_NAME=temporal.test",
		)
		s.awaitHealth(t, "frontend", "history", "matching", "worker")
		out, err := s.command(t, "create-namespace", "--address", s.frontend, "secured")
		require.NoError(t, err, out)
		for _, without := range []string{"TEMPORAL_TLS_SERVER_CERT", "TEMPORAL_TLS_SERVER_CA_CERT"} {
			other := *s
			other.environment = append(slices.Clone(s.environment), without+"=")
			out, err := other.health(t)
			require.Error(t, err, "without %s: %s", without, out)
		}
		s.stop(t)
	})
}
