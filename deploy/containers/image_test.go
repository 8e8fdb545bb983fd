//go:build containers

package containers

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	serverImage   = "temporal-vitess/server:test"
	serverArchive = "../../.tools/image/server.tar"
	// downloadSize is what a registry sends of the image at most, in bytes: its files are compressed.
	downloadSize = 120 << 20
)

// As Kubernetes' restricted profile and read-only root file systems want it.
var hardened = []string{"--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}

// once runs a command of the server's image, and returns its standard output.
func once(t *testing.T, arguments ...string) string {
	t.Helper()
	return engine(t, append(append([]string{"run", "--rm"}, hardened...), arguments...)...)
}

func TestServerImage(t *testing.T) {
	id := build(t, "build-image.sh", serverImage)

	t.Run("two builds give the same image", func(t *testing.T) {
		require.Equal(t, id, build(t, "build-image.sh", serverImage))
		require.NotEqual(t, id, build(t, "build-image.sh", serverImage+"-later", "SOURCE_DATE_EPOCH=1700000000"))
		engine(t, "rmi", serverImage+"-later")
	})
	t.Run("it is small", func(t *testing.T) {
		archive, err := os.Stat(serverArchive)
		require.NoError(t, err)
		require.Less(t, archive.Size(), int64(downloadSize))
	})
	t.Run("it tells what it is", func(t *testing.T) {
		labels := inspect[map[string]string](t, serverImage, "{{json .Config.Labels}}")
		for _, label := range []string{"title", "description", "source", "licenses", "version", "revision", "created"} {
			require.NotEmpty(t, labels["org.opencontainers.image."+label], label)
		}
		created, err := time.Parse(time.RFC3339, labels["org.opencontainers.image.created"])
		require.NoError(t, err)
		require.True(t, created.Equal(inspect[time.Time](t, serverImage, "{{json .Created}}")))
		require.Contains(t, once(t, serverImage, "temporal-server", "--version"), labels["org.opencontainers.image.version"])
	})
	t.Run("the server starts by default, as an ordinary user", func(t *testing.T) {
		require.Equal(t, []string{"temporal-server", "start", "--bind-on-hostname"}, inspect[[]string](t, serverImage, "{{json .Config.Cmd}}"))
		require.Equal(t, "1000:1000", inspect[string](t, serverImage, "{{json .Config.User}}"))
	})
	t.Run("files", func(t *testing.T) {
		container := engine(t, "create", serverImage)
		defer engine(t, "rm", container)
		files := map[string][]byte{}
		modes := map[string]int64{}
		exported, err := exec.Command(engineName(), "export", container).Output()
		require.NoError(t, err)
		for archive := tar.NewReader(bytes.NewReader(exported)); ; {
			header, err := archive.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			modes[header.Name] = header.Mode
			if header.Size < 1<<20 {
				files[header.Name], err = io.ReadAll(archive)
				require.NoError(t, err)
			}
		}
		require.True(t, x509.NewCertPool().AppendCertsFromPEM(files["etc/ssl/certs/ca-certificates.crt"]))
		require.EqualValues(t, 0o1777, modes["tmp/"]&0o7777, "everybody can write temporary files")
		require.Contains(t, string(files["etc/passwd"]), "temporal:x:1000:1000:")
	})
	t.Run("the tool is there", func(t *testing.T) {
		require.Contains(t, once(t, serverImage, "temporal-vitess-tool", "vschema", "print"), "reverse_bits")
	})
	t.Run("the dynamic configuration is valid", func(t *testing.T) {
		const file = "/etc/temporal/config/dynamicconfig/docker.yaml"
		require.Equal(t, file, once(t, serverImage, "temporal-server", "validate-dynamic-config", file))
	})
	t.Run("DB=vitess configures the server", func(t *testing.T) {
		configured := once(t, "--env", "DB=vitess", "--env", "MYSQL_SEEDS=vtgate", serverImage, "temporal-server", "render-config")
		require.Contains(t, configured, "pluginName: vitess")
		// Where not even /tmp can be written.
		fromFile := engine(t, "run", "--rm", "--read-only", "--env", "TEMPORAL_SERVER_CONFIG_FILE_PATH=/etc/temporal/config/vitess.yaml",
			"--env", "MYSQL_SEEDS=vtgate", serverImage, "temporal-server", "render-config")
		require.Equal(t, configured, fromFile)
	})
	t.Run("time zones are known", func(t *testing.T) {
		// The log of render-config tells the local time, which on this island is 14 hours ahead of UTC.
		command := exec.Command(engineName(), "run", "--rm", "--env", "DB=vitess", "--env", "MYSQL_SEEDS=vtgate", "--env", "TZ=Pacific/Kiritimati",
			"--tmpfs", "/tmp", serverImage, "temporal-server", "render-config")
		var log bytes.Buffer
		command.Stderr = &log
		require.NoError(t, command.Run(), log.String())
		require.GreaterOrEqual(t, log.Len(), len(time.DateTime), log.String())
		logged, err := time.Parse("2006/01/02 15:04:05", log.String()[:len(time.DateTime)])
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().UTC().Add(14*time.Hour), logged, time.Hour)
	})
	for name, user := range map[string]string{"its own user": "1000:1000", "a user that it does not know": "12345:12345"} {
		t.Run("the server starts, answers and stops under "+name, func(t *testing.T) {
			// With upstream's SQLite plugin in memory: no database is needed here.
			container := start(t, append(hardened, "--user", user, "--health-interval", "1s", "--env", "LOG_LEVEL=error",
				"--env", "DB=sqlite", "--env", "SQLITE_MODE=memory", serverImage)...)
			awaitHealthy(t, container)
			engine(t, "stop", "--time", "60", container)
			require.Zero(t, inspect[int](t, container, "{{json .State.ExitCode}}"))
			logs, err := exec.Command(engineName(), "logs", container).CombinedOutput()
			require.NoError(t, err)
			require.Contains(t, string(logs), "All services are stopped.")
		})
	}
}

func TestServerImageOfTheOtherArchitecture(t *testing.T) {
	const tag = serverImage + "-arm64"
	build(t, "build-image.sh", tag, "PLATFORM=linux/arm64")
	require.Equal(t, "arm64", inspect[string](t, tag, "{{json .Architecture}}"))
	container := engine(t, "create", "--platform", "linux/arm64", tag)
	defer engine(t, "rm", container)
	for _, program := range []string{"temporal-server", "temporal-vitess-tool"} {
		copied, err := exec.Command(engineName(), "cp", container+":/usr/local/bin/"+program, "-").Output()
		require.NoError(t, err)
		archive := tar.NewReader(bytes.NewReader(copied))
		_, err = archive.Next()
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		binary, err := elf.NewFile(bytes.NewReader(content))
		require.NoError(t, err)
		require.Equal(t, elf.EM_AARCH64, binary.Machine)
	}
}
