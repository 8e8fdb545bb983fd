//go:build linux

// Package image checks the container image: what is in it, and that the server runs with nothing else around it.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	repository = "../.."
	archive    = repository + "/.tools/image/image.tar"
	serverPath = "/usr/local/bin/temporal-server"
	toolPath   = "/usr/local/bin/temporal-vitess-tool"
	user       = 1000 // the image's user and group
)

// exitNoBuilder is how scripts/build-image.sh says that this machine has nothing to build an image with.
const exitNoBuilder = 3

func TestImage(t *testing.T) {
	buildImage(t)
	image := unpackImage(t)

	t.Run("the server starts by default, as an ordinary user", func(t *testing.T) {
		require.Equal(t, []string{"temporal-server", "start", "--bind-on-hostname"}, image.Config.Cmd)
		require.Equal(t, "temporal", image.Config.User)
		require.Equal(t, "/etc/temporal", image.Config.WorkingDir)
		require.Contains(t, image.read(t, "etc/passwd"), "temporal:x:1000:1000:")
	})
	t.Run("the server runs under a user id that the image does not know", func(t *testing.T) {
		require.Subset(t, image.Config.Env, []string{"USER=temporal", "HOME=/etc/temporal"})
	})
	t.Run("CA certificates can be read", func(t *testing.T) {
		require.True(t, x509.NewCertPool().AppendCertsFromPEM([]byte(image.read(t, "etc/ssl/certs/ca-certificates.crt"))))
	})
	t.Run("everybody can write temporary files", func(t *testing.T) {
		directory, err := os.Stat(filepath.Join(image.root, "tmp"))
		require.NoError(t, err)
		require.Equal(t, os.ModeDir|os.ModeSticky|0o777, directory.Mode())
	})
	t.Run("--version", func(t *testing.T) {
		stdout, _ := image.run(t, serverPath, nil, "--version")
		require.Regexp(t, `^temporal version \S+ \(temporal-vitess \S+, vitess v\S+\)\n$`, stdout)
	})
	t.Run("the tool is there", func(t *testing.T) {
		stdout, _ := image.run(t, toolPath, nil, "vschema", "print")
		require.Contains(t, stdout, "reverse_bits")
	})
	t.Run("the dynamic configuration is valid", func(t *testing.T) {
		const file = "/etc/temporal/config/dynamicconfig/docker.yaml"
		stdout, _ := image.run(t, serverPath, nil, "validate-dynamic-config", file)
		require.Equal(t, file+"\n", stdout)
	})
	t.Run("DB=vitess configures the server", func(t *testing.T) {
		stdout, _ := image.run(t, serverPath, []string{"DB=vitess", "MYSQL_SEEDS=vtgate"}, "render-config")
		require.Contains(t, stdout, "pluginName: vitess")
		fromFile, _ := image.run(t, serverPath, []string{"TEMPORAL_SERVER_CONFIG_FILE_PATH=/etc/temporal/config/vitess.yaml", "MYSQL_SEEDS=vtgate"},
			"render-config")
		require.Equal(t, stdout, fromFile)
	})
	t.Run("the server starts, answers and stops", func(t *testing.T) { testStart(t, image) })
	t.Run("time zones are known", func(t *testing.T) {
		// The log of render-config tells the local time, which on this island is 14 hours ahead of UTC.
		_, stderr := image.run(t, serverPath, []string{"DB=vitess", "MYSQL_SEEDS=vtgate", "TZ=Pacific/Kiritimati"}, "render-config")
		require.GreaterOrEqual(t, len(stderr), len(time.DateTime), stderr)
		logged, err := time.Parse("2006/01/02 15:04:05", stderr[:len(time.DateTime)])
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().UTC().Add(14*time.Hour), logged, time.Hour)
	})
}

func buildImage(t *testing.T) {
	build := exec.Command(repository + "/scripts/build-image.sh")
	output, err := build.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitNoBuilder && os.Geteuid() != 0 {
		t.Skip(string(output)) // root can install what is missing, so there it is a failure
	}
	require.NoError(t, err, string(output))
}

// image is an unpacked container image.
type image struct {
	root   string // directory of its root file system
	Config struct {
		Cmd        []string
		User       string
		WorkingDir string
		Env        []string
		// Healthcheck is Docker's own; OCI's format has none.
		Healthcheck struct{ Test []string }
	} `json:"config"`
}

// unpackImage reads the archive: tar files, one for each layer, and JSON files that name them
// (https://github.com/moby/docker-image-spec, "Combined Image JSON + Filesystem Changeset Format").
func unpackImage(t *testing.T) image {
	var manifest []struct {
		Config string
		Layers []string
	}
	require.NoError(t, json.Unmarshal(archived(t, "manifest.json"), &manifest))
	require.Len(t, manifest, 1)

	unpacked := image{root: t.TempDir()}
	require.NoError(t, os.Chmod(unpacked.root, 0o755)) // whatever the umask: the image's user must be able to enter
	require.NoError(t, json.Unmarshal(archived(t, manifest[0].Config), &unpacked))
	for _, layer := range manifest[0].Layers {
		extract := exec.Command("tar", "--extract", "--preserve-permissions", "--no-same-owner", "--directory", unpacked.root)
		extract.Stdin = bytes.NewReader(archived(t, layer))
		output, err := extract.CombinedOutput()
		require.NoError(t, err, string(output))
	}
	return unpacked
}

// archived reads one file of the archive.
func archived(t *testing.T, name string) []byte {
	file, err := os.Open(archive)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		require.NoError(t, err, "%s in %s", name, archive)
		if header.Name == name && header.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(reader)
			require.NoError(t, err)
			return content
		}
	}
}

func (i image) read(t *testing.T, name string) string {
	content, err := os.ReadFile(filepath.Join(i.root, name))
	require.NoError(t, err)
	return string(content)
}

// run runs the server with the image as its root directory, as the image's user, and requires that it succeeds.
func (i image) run(t *testing.T, program string, environment []string, arguments ...string) (stdout, stderr string) {
	var out, log bytes.Buffer
	command := exec.Command(program, arguments...)
	command.Dir = i.Config.WorkingDir
	command.Env = append(environment, i.Config.Env...)
	command.Stdout, command.Stderr = &out, &log
	command.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     i.root,
		Credential: &syscall.Credential{Uid: user, Gid: user},
	}
	if os.Geteuid() != 0 { // a user namespace lets an ordinary user chroot, as the one user it has there
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}}
		command.SysProcAttr.Credential.NoSetGroups = true
	}
	require.NoError(t, command.Run(), log.String())
	return out.String(), log.String()
}
