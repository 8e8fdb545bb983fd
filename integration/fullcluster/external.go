package fullcluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

// MySQL is a MySQL server beside Vitess, with its binary log and GTIDs on.
type MySQL struct {
	Port   int
	MySQLd *Process
}

// Addr is where the server listens, for a user without a password who may do everything.
func (m *MySQL) Addr() (addr, user string) { return address(m.Port), mysqlUser }

// StartMySQL starts a MySQL server that is no tablet's.
func (c *Cluster) StartMySQL(ctx context.Context) (*MySQL, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	uid := c.nextUID
	c.nextUID++
	c.mu.Unlock()
	db, err := cluster.Open(mysqlUser, address(ports[0]), "")
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(0) // nothing to close
	if err := c.makeMySQLFolder(ctx, uid, ports[0]); err != nil {
		return nil, err
	}
	if err := c.copyGoldenData(ctx, uid); err != nil {
		return nil, err
	}
	m := &MySQL{Port: ports[0], MySQLd: c.newProcess("mysqld beside", db.PingContext)}
	m.MySQLd.commandLine = c.mysqldCommand(uid, m.MySQLd.log)
	return m, m.MySQLd.start(ctx, append(slices.Clone(m.MySQLd.commandLine), "--init-file="+c.initFile(), "--super-read-only=OFF", "--read-only=OFF"))
}

// StartUnmanaged starts a vttablet without a mysqld of its own, with what its flags say.
func (c *Cluster) StartUnmanaged(ctx context.Context, name string, flags ...string) (*Process, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	httpAddr := address(ports[0])
	all := slices.Concat([]string{
		"--tablet-hostname=127.0.0.1",
		"--grpc-bind-address=127.0.0.1", "--grpc-port=" + fmt.Sprint(ports[1]),
		"--service-map=grpc-queryservice,grpc-tabletmanager,grpc-updatestream",
	}, tabletFlags, flags)
	p := c.newProcess("vttablet "+name, answers("http://"+httpAddr+"/debug/status"), c.vitess("vttablet", ports[0], all...)...)
	return p, p.start(ctx, p.commandLine)
}

// WriteFile writes a file that processes of the cluster can read, and returns its path.
func (c *Cluster) WriteFile(name string, content []byte) (string, error) {
	path := filepath.Join(c.folder, name)
	return path, os.WriteFile(path, content, 0o644)
}
