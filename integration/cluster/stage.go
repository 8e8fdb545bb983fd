package cluster

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

//go:embed mysqld.cnf
var mysqldConfig []byte

// vtcomboFlags are what vttestserver has no flag for. It gives the first three a value of 4, and makes vtcombo wait 30 s
// for replicas that are not there. The vttablets share a sidecar database, and each takes the tables of the others for
// changed ones of its own whenever it reads its schema: regularly, vtgate would drop all its plans each time.
var vtcomboFlags = []string{
	"--queryserver-config-pool-size=200",
	"--queryserver-config-stream-pool-size=50",
	"--queryserver-config-transaction-cap=300",
	"--tablet-types-to-wait=PRIMARY",
	"--queryserver-config-schema-reload-time=24h",
}

// stage fills the folder with what vttestserver reads: below root what Vitess calls VTROOT, below schema the VSchemas.
func stage(folder string, t tools, cfg Config) error {
	vtroot := filepath.Join(folder, "root")
	for _, dir := range []string{filepath.Join(vtroot, "bin"), filepath.Join(vtroot, "config", "mycnf")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink(t.mysqlctl, filepath.Join(vtroot, "bin", "mysqlctl")); err != nil {
		return err
	}
	if err := os.Symlink(t.initDB, filepath.Join(vtroot, "config", "init_db.sql")); err != nil {
		return err
	}
	vtcombo := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"", supervise.Quote(t.vtcombo))
	for _, flag := range slices.Concat(vtcomboFlags, cfg.VTComboFlags) {
		vtcombo += " " + supervise.Quote(flag)
	}
	if err := os.WriteFile(filepath.Join(vtroot, "bin", "vtcombo"), []byte(vtcombo+"\n"), 0o755); err != nil {
		return err
	}
	// The name is fixed in vttestserver. Vitess' own file has an option that MySQL 9 refuses.
	if err := os.WriteFile(filepath.Join(vtroot, "config", "mycnf", "test-suite.cnf"), mysqldConfig, 0o644); err != nil {
		return err
	}
	for _, keyspace := range cfg.Keyspaces {
		dir := filepath.Join(folder, "schema", keyspace.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if len(keyspace.VSchema) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "vschema.json"), keyspace.VSchema, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func environment(folder string, t tools) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + folder,
		"TMPDIR=" + folder,
		"VTROOT=" + filepath.Join(folder, "root"),
		"VTDATAROOT=" + folder,
		"VT_MYSQL_ROOT=" + t.mysqlRoot,
	}
}

func commandLine(folder string, t tools, cfg Config) []string {
	var names, shards []string
	for _, keyspace := range cfg.Keyspaces {
		names = append(names, keyspace.Name)
		shards = append(shards, strconv.Itoa(keyspace.Shards))
	}
	return []string{
		t.vttestserver,
		"--keyspaces=" + strings.Join(names, ","),
		"--num-shards=" + strings.Join(shards, ","),
		"--replica-count=" + strconv.Itoa(1+cfg.Replicas), // includes the primary
		"--rdonly-count=-1",                               // none; 0 is taken for "not set"
		"--schema-dir=" + filepath.Join(folder, "schema"),
		"--initialize-with-vt-dba-tcp",
		"--no-scatter",
		"--transaction-mode=MULTI",
		"--vschema-ddl-authorized-users=%",
		"--vtcombo-bind-host=127.0.0.1",
		"--grpc-bind-address=127.0.0.1",
		"--mysql-bind-host=127.0.0.1",
	}
}
