package server

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const binary = "../../.tools/bin/temporal-server"

// TestBinary runs workflows on the server binary, configured as users do: by config/vitess.yaml and the environment.
// Its one visibility store is of profile spread.
func TestBinary(t *testing.T) {
	require.FileExists(t, binary, "build it first: go build -o .tools/bin/temporal-server ./cmd/temporal-server")
	vitess, err := testbed.Start(t.Context(), 2, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, vitess.Stop()) })

	ports, err := freePorts(portCount)
	require.NoError(t, err)
	vtgateHost, vtgatePort, err := net.SplitHostPort(vitess.VTGateAddr())
	require.NoError(t, err)
	environment := os.Environ()
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
		environment = append(environment, name+"="+value)
	}
	for i, name := range []string{
		"FRONTEND_GRPC_PORT", "FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT", "HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT",
		"MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT", "WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT",
	} {
		environment = append(environment, name+"="+strconv.Itoa(ports[i]))
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
	process := exec.Command(binary, "--config-file", "../../config/vitess.yaml", "start")
	process.Env = environment
	process.Stdout, process.Stderr = log, log
	require.NoError(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill() })
	alive, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- process.Wait()
		end()
	}()

	s := &Server{frontend: net.JoinHostPort(host, strconv.Itoa(ports[0])), logger: newLogger(nil)}
	require.NoError(t, s.awaitFrontend(alive))
	const namespace = "binary"
	require.NoError(t, s.CreateNamespace(alive, namespace))
	c, err := s.Dial(namespace)
	require.NoError(t, err)
	defer c.Close()
	target := kinds.Target{Client: c, Namespace: namespace, TaskQueue: "binary"}
	w := kinds.NewWorker(target)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	group, ctx := errgroup.WithContext(alive)
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

	require.NoError(t, process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-ended)
	require.NoError(t, vitess.CheckRoutes(t.Context()))
}
