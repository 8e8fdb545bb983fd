package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// tools are the files that scripts/install-tools.sh makes.
type tools struct {
	vttestserver string
	vtcombo      string
	mysqlctl     string
	initDB       string // statements that create Vitess' users in a new mysqld
	mysqlRoot    string // what Vitess calls VT_MYSQL_ROOT
}

// findTools looks in .tools beside the go.mod that governs dir.
func findTools(dir string) (tools, error) {
	checkout, err := supervise.ModuleRoot(dir)
	if err != nil {
		return tools{}, err
	}
	root := filepath.Join(checkout, ".tools")
	t := tools{
		vttestserver: filepath.Join(root, "bin", "vttestserver"),
		vtcombo:      filepath.Join(root, "bin", "vtcombo"),
		mysqlctl:     filepath.Join(root, "bin", "mysqlctl"),
		initDB:       filepath.Join(root, "config", "init_db.sql"),
		mysqlRoot:    filepath.Join(root, "mysql", "root"),
	}
	for _, path := range []string{t.vttestserver, t.vtcombo, t.mysqlctl, t.initDB, filepath.Join(t.mysqlRoot, "sbin", "mysqld")} {
		if _, err := os.Stat(path); err != nil {
			return tools{}, fmt.Errorf("a program of the local Vitess is missing: run `make tools` in %s: %w", checkout, err)
		}
	}
	return t, nil
}
