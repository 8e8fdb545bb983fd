//go:build containers

package containers

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const devImage = "temporal-vitess-dev:test"

// buildDev builds the development image, on Debian's image or what stands in for it.
func buildDev(t *testing.T) {
	t.Helper()
	base, err := run(exec.Command("../../scripts/debian-image.sh"))
	require.NoError(t, err)
	build(t, "build-dev-image.sh", devImage, "BASE="+strings.TrimSpace(base))
}

// published returns where a port of a container can be reached.
func published(t *testing.T, container, port string) string {
	t.Helper()
	return strings.Split(engine(t, "port", container, port), "\n")[0]
}

func TestDevelopmentImage(t *testing.T) {
	buildDev(t)
	volume := engine(t, "volume", "create")
	t.Cleanup(func() { engine(t, "volume", "rm", volume) })
	run := func() string {
		began := time.Now()
		container := start(t, "--publish", "127.0.0.1::7233", "--publish", "127.0.0.1::8080", "--volume", volume+":/vt/vtdataroot", devImage)
		awaitHealthy(t, container)
		t.Logf("serves after %.1f s", time.Since(began).Seconds())
		return container
	}
	var past history

	container := run()
	past.round(t, published(t, container, "7233"))
	requireUI(t, published(t, container, "8080"), past)

	engine(t, "stop", "--time", "60", container)
	require.Zero(t, inspect[int](t, container, "{{json .State.ExitCode}}"))
	container = run()
	past.round(t, published(t, container, "7233"))

	// Nothing is lost, and nothing of what is left behind is in the way.
	engine(t, "kill", container)
	container = run()
	past.round(t, published(t, container, "7233"))
}

// requireUI requires that the web UI is there and gets workflows from the frontend.
func requireUI(t *testing.T, address string, past history) {
	t.Helper()
	get := func(path string) *http.Response {
		response, err := http.Get("http://" + address + path)
		require.NoError(t, err)
		t.Cleanup(func() { _ = response.Body.Close() })
		require.Equal(t, http.StatusOK, response.StatusCode)
		return response
	}
	require.Contains(t, get("/").Header.Get("Content-Type"), "text/html")
	var listed struct{ Executions []any }
	require.NoError(t, json.NewDecoder(get("/api/v1/namespaces/default/workflows").Body).Decode(&listed))
	count := 0
	for _, closed := range past.closed {
		count += closed
	}
	require.Len(t, listed.Executions, count)
}
