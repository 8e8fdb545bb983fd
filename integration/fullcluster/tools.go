package fullcluster

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// tools is what `make tools-cluster` makes.
type tools struct {
	bin       string // the folder of Vitess' programs
	etcd      string
	initDB    string // statements that create Vitess' users in a new mysqld
	mysqlRoot string // what Vitess calls VT_MYSQL_ROOT
}

// findTools looks in .tools beside the go.mod that governs dir.
func findTools(dir string) (tools, error) {
	checkout, err := supervise.ModuleRoot(dir)
	if err != nil {
		return tools{}, err
	}
	root := filepath.Join(checkout, ".tools")
	t := tools{
		bin:       filepath.Join(root, "bin"),
		etcd:      filepath.Join(root, "etcd", "etcd"),
		initDB:    filepath.Join(root, "config", "init_db.sql"),
		mysqlRoot: filepath.Join(root, "mysql", "root"),
	}
	needed := []string{t.etcd, t.initDB, t.mysqld()}
	for _, program := range []string{"vttablet", "vtgate", "vtctld", "vtorc", "mysqlctl", "vtctldclient"} {
		needed = append(needed, t.program(program))
	}
	for _, path := range needed {
		if _, err := os.Stat(path); err != nil {
			return tools{}, fmt.Errorf("a program of the full Vitess is missing: run `make tools-cluster` in %s: %w", checkout, err)
		}
	}
	return t, nil
}

func (t tools) program(name string) string {
	return filepath.Join(t.bin, name)
}

func (t tools) mysqld() string {
	return filepath.Join(t.mysqlRoot, "sbin", "mysqld")
}
