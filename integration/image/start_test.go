//go:build linux

package image

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds how long the server may take to answer, and to stop.
const patience = 2 * time.Minute

// testStart runs the image's own command, with upstream's SQLite plugin in memory, until the frontend answers, and
// stops it. It does so outside of the image's root: Temporal wants the /proc that a container runtime mounts there.
func testStart(t *testing.T, image image) {
	ports := freePorts(t, 9)
	environment := append(slices.Clone(image.Config.Env), "DB=sqlite", "SQLITE_MODE=memory", "BIND_ON_IP=127.0.0.1",
		"DYNAMIC_CONFIG_FILE_PATH="+filepath.Join(image.root, "etc/temporal/config/dynamicconfig/docker.yaml"))
	for i, variable := range []string{
		"FRONTEND_GRPC_PORT", "FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT",
		"HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT",
		"MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT",
		"WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT",
	} {
		environment = append(environment, fmt.Sprintf("%s=%d", variable, ports[i]))
	}
	var output bytes.Buffer // read only after the server has stopped
	server := exec.Command(filepath.Join(image.root, serverPath), image.Config.Cmd[1:]...)
	server.Env = environment
	server.Stdout, server.Stderr = &output, &output
	require.NoError(t, server.Start())
	var exit error
	stopped := make(chan struct{})
	go func() {
		exit = server.Wait()
		close(stopped)
	}()
	defer func() {
		_ = server.Process.Kill()
		<-stopped
		if t.Failed() {
			t.Log(output.String())
		}
	}()
	hasStopped := func() bool {
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	}

	// The image's own health check, which a container engine runs.
	check := image.Config.Healthcheck.Test
	require.Equal(t, []string{"CMD", filepath.Base(serverPath), "health"}, check[:3])
	serving := func() bool {
		health := exec.CommandContext(t.Context(), filepath.Join(image.root, serverPath), check[2:]...)
		health.Env = environment
		return health.Run() == nil
	}
	require.Eventually(t, func() bool { return serving() || hasStopped() }, patience, 100*time.Millisecond)
	require.False(t, hasStopped(), "the server stopped before its frontend answered")

	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, hasStopped, patience, 100*time.Millisecond)
	require.NoError(t, exit)
	require.Contains(t, output.String(), "All services are stopped.")
}

// freePorts finds ports on the loopback interface that nobody listens on.
func freePorts(t *testing.T, count int) []int {
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = listener.Close() }() // after all are found, so that they differ
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports
}
