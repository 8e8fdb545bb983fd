package toolconnect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/certificates"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const startTimeout = 5 * time.Minute

var (
	// running takes sessions with TLS and without.
	running *cluster.Cluster
	// files are for the name vtgate.test, and nobody knows the authority of strangers.
	files, strangers certificates.Files
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	folder, err := os.MkdirTemp("", "toolconnect")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil {
		return 0, err
	}
	if files, err = certificates.Write(folder, "vtgate.test"); err != nil {
		return 0, err
	}
	if strangers, err = certificates.Write(filepath.Join(folder, "strangers"), "vtgate.test"); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	keyspaces, err := testbed.Keyspaces("", 1)
	if err != nil {
		return 0, err
	}
	running, err = cluster.Start(ctx, cluster.Config{Keyspaces: keyspaces, VTComboFlags: []string{
		"--mysql-server-ssl-cert=" + files.Certificate,
		"--mysql-server-ssl-key=" + files.Key,
	}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, running.Stop()) }()
	return m.Run(), nil
}
