package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MakeFolder makes a temporary folder for the files of a local Vitess, whose sockets need short paths.
func MakeFolder() (string, error) {
	const (
		maxSocketPath = 103 // on macOS; 107 on Linux
		socketPath    = "/vt0123456789/vttest0123456789/vt_0000000001/mysql.sock"
	)
	parent := os.TempDir()
	if len(parent)+len(socketPath) > maxSocketPath {
		parent = "/tmp"
	}
	return os.MkdirTemp(parent, "vt")
}

// ModuleRoot is the folder of the go.mod that governs dir: the checkout, whose .tools has the programs.
func ModuleRoot(dir string) (string, error) {
	for current := filepath.Clean(dir); ; current = filepath.Dir(current) {
		_, err := os.Stat(filepath.Join(current, "go.mod"))
		if err == nil {
			return current, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if current == filepath.Dir(current) {
			return "", fmt.Errorf("no go.mod in %s or above it: the local Vitess is started from within a checkout, which holds its programs in .tools", dir)
		}
	}
}

// Quote makes one word of a shell's command line.
func Quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
