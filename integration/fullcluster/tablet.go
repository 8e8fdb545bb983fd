package fullcluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

const (
	// goldenUID is the tablet whose data folder is copied for all others, and which never runs.
	goldenUID = 100
	firstUID  = 101
	// mysqlUser may do everything in each mysqld, also over TCP.
	mysqlUser = "vt_dba_tcp"
)

//go:embed mysqld.cnf
var mysqldConfig []byte

// tabletFlags are what operators of Temporal are advised to set, and what makes a small tablet quick.
var tabletFlags = []string{
	"--queryserver-config-transaction-timeout=10s",
	"--queryserver-config-transaction-cap=160",
	"--queryserver-config-pool-size=160",
	"--health-check-interval=2s",
	"--shutdown-grace-period=3s",
}

// Tablet is a vttablet with its mysqld. The index 0 is that of the first primary.
type Tablet struct {
	Keyspace, Shard string
	Index           int
	Alias           string // as in "zone1-0000000101"

	uid                int
	httpAddr, grpcAddr string
	mysqlPort          int
	mysqlAddr          string
	mysqld, vttablet   *Process
	// The ways to the vttablet and to the mysqld; nil without.
	network, replication *Network
}

// VTTablet is the vttablet's process.
func (t *Tablet) VTTablet() *Process { return t.vttablet }

// MySQLd is the process of mysqld itself: nothing starts it again.
func (t *Tablet) MySQLd() *Process { return t.mysqld }

// HTTPAddr is the host:port of the vttablet's status pages.
func (t *Tablet) HTTPAddr() string { return t.httpAddr }

// GRPCAddr is the host:port where the vttablet serves vtgates and vtctld.
func (t *Tablet) GRPCAddr() string { return t.grpcAddr }

// Network is the way to the vttablet's gRPC, for vtgates, vtctld, vtorc and other vttablets; nil if the configuration has
// none.
func (t *Tablet) Network() *Network { return t.network }

// ReplicationNetwork is the way to the mysqld, for its replicas; nil if the configuration has none.
func (t *Tablet) ReplicationNetwork() *Network { return t.replication }

func (t *Tablet) stopNetworks() {
	t.network.stop()
	t.replication.stop()
}

// MySQL is how to reach the tablet's mysqld with the Go driver: a user without a password who may do everything. The data is
// in the database vt_<keyspace>.
func (t *Tablet) MySQL() (network, addr, user string) {
	return "tcp", t.mysqlAddr, mysqlUser
}

// Tablets are all tablets, by keyspace as configured, Vitess shard and index; those that were added come last.
func (c *Cluster) Tablets() []*Tablet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tablets)
}

// Tablet is one of them. It panics if there is none.
func (c *Cluster) Tablet(keyspace, shard string, index int) *Tablet {
	for _, t := range c.Tablets() {
		if t.Keyspace == keyspace && t.Shard == shard && t.Index == index {
			return t
		}
	}
	panic(fmt.Sprintf("fullcluster: no tablet %s/%s/%d", keyspace, shard, index))
}

// VTTablet is the process of a tablet's vttablet.
func (c *Cluster) VTTablet(keyspace, shard string, index int) *Process {
	return c.Tablet(keyspace, shard, index).vttablet
}

// MySQLd is the process of a tablet's mysqld.
func (c *Cluster) MySQLd(keyspace, shard string, index int) *Process {
	return c.Tablet(keyspace, shard, index).mysqld
}

// MySQL is how to reach a tablet's mysqld directly.
func (c *Cluster) MySQL(keyspace, shard string, index int) (network, addr, user string) {
	return c.Tablet(keyspace, shard, index).MySQL()
}

const tabletPorts = 3

func (c *Cluster) placeTablet(keyspace, shard string, index int, port func() int) (*Tablet, error) {
	c.mu.Lock()
	uid := c.nextUID
	c.nextUID++
	c.mu.Unlock()
	httpPort, grpcPort, mysqlPort := port(), port(), port()
	t := &Tablet{
		Keyspace:  keyspace,
		Shard:     shard,
		Index:     index,
		Alias:     fmt.Sprintf("%s-%010d", cell, uid),
		uid:       uid,
		httpAddr:  address(httpPort),
		grpcAddr:  address(grpcPort),
		mysqlPort: mysqlPort,
		mysqlAddr: c.behind(mysqlPort),
	}
	name := fmt.Sprintf("%s/%s/%d", keyspace, shard, index)

	db, err := cluster.Open(mysqlUser, t.mysqlAddr, "")
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(0) // nothing to close
	t.mysqld = c.newProcess("mysqld "+name, db.PingContext)
	t.mysqld.commandLine = c.mysqldCommand(t.uid, t.mysqld.log)

	host := c.host()
	if c.config.VTTabletProxy != nil {
		host = behindNetwork
	}
	t.network = c.newNetwork("vttablet "+name, grpcPort)
	t.replication = c.newNetwork("mysqld "+name, mysqlPort)
	flags := []string{
		"--tablet-path=" + t.Alias,
		"--tablet-hostname=127.0.0.1",
		"--init-keyspace=" + keyspace, "--init-shard=" + shard, "--init-tablet-type=replica",
		"--grpc-bind-address=" + host, fmt.Sprintf("--grpc-port=%d", grpcPort),
		"--service-map=grpc-queryservice,grpc-tabletmanager,grpc-updatestream",
		"--backup-storage-implementation=file", "--file-backup-storage-root=" + c.backups(),
	}
	flags = slices.Concat(flags, tabletFlags, c.config.VTTabletFlags)
	t.vttablet = c.newProcess("vttablet "+name, answers("http://"+t.httpAddr+"/debug/status"), c.vitess("vttablet", httpPort, flags...)...)
	c.mu.Lock()
	c.tablets = append(c.tablets, t)
	c.mu.Unlock()
	return t, nil
}

// startTablet returns when mysqld and vttablet answer; nobody is primary yet. Golden is closed when there is a data folder
// to copy, topology when there is a keyspace to join.
func (c *Cluster) startTablet(ctx context.Context, t *Tablet, topology, golden <-chan struct{}) error {
	if err := c.makeMySQLFolder(ctx, t.uid, t.mysqlPort); err != nil {
		return err
	}
	for _, needed := range []<-chan struct{}{golden, topology} {
		select {
		case <-needed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := c.copyGoldenData(ctx, t.uid); err != nil {
		return err
	}
	if err := errors.Join(t.network.start(), t.replication.start()); err != nil {
		return err
	}
	if c.config.VTTabletProxy != nil {
		_, port, err := net.SplitHostPort(t.grpcAddr)
		if err != nil {
			return err
		}
		if err := c.config.VTTabletProxy(t.grpcAddr, net.JoinHostPort(behindNetwork, port)); err != nil {
			return err
		}
	}
	if err := t.mysqld.start(ctx, append(slices.Clone(t.mysqld.commandLine), "--init-file="+c.initFile())); err != nil {
		return err
	}
	return t.vttablet.start(ctx, t.vttablet.commandLine)
}

func (c *Cluster) backups() string       { return filepath.Join(c.folder, "backups") }
func (c *Cluster) mysqlSettings() string { return filepath.Join(c.folder, "mysqld.cnf") }
func (c *Cluster) initFile() string      { return filepath.Join(c.folder, "init.sql") }

func (c *Cluster) stageMySQL() error {
	settings := string(mysqldConfig) + "\nbind_address = " + c.host() + "\ntransaction_isolation = " + c.config.TransactionIsolation + "\n" +
		strings.Join(c.config.MySQLSettings, "\n") + "\n"
	if err := os.WriteFile(c.mysqlSettings(), []byte(settings), 0o644); err != nil {
		return err
	}
	// Vitess' users, and one of ours, which Vitess' last statements follow.
	statements, err := os.ReadFile(c.tools.initDB)
	if err != nil {
		return err
	}
	const mark = "# {{custom_sql}}"
	if !strings.Contains(string(statements), mark) {
		return fmt.Errorf("%s has no line %q", c.tools.initDB, mark)
	}
	user := "CREATE USER '" + mysqlUser + "'@'%';\n" +
		"GRANT ALL ON *.* TO '" + mysqlUser + "'@'%' WITH GRANT OPTION;\n"
	return os.WriteFile(c.initFile(), []byte(strings.Replace(string(statements), mark, user, 1)), 0o644)
}

func (c *Cluster) tabletFolder(uid int) string {
	return filepath.Join(c.folder, fmt.Sprintf("vt_%010d", uid))
}

// mysqldCommand starts mysqld without mysqlctl, which might start it through mysqld_safe: that would start it again where a
// test has killed it.
func (c *Cluster) mysqldCommand(uid int, log string) []string {
	// The lock of a socket whose mysqld was killed holds a process id, which may be another's by now.
	lock := filepath.Join(c.tabletFolder(uid), "mysql.sock.lock")
	return append([]string{"sh", "-c", `rm -f "$1"; shift; exec "$@"`, "sh", lock}, c.mysqld(uid, "--log-error="+log)...)
}

func (c *Cluster) mysqld(uid int, flags ...string) []string {
	return append([]string{
		c.tools.mysqld(),
		"--defaults-file=" + filepath.Join(c.tabletFolder(uid), "my.cnf"),
		"--basedir=" + c.tools.mysqlRoot,
	}, flags...)
}

// makeMySQLFolder makes a tablet's folder with all but data.
func (c *Cluster) makeMySQLFolder(ctx context.Context, uid, mysqlPort int) error {
	_, err := c.command(ctx, c.tools.program("mysqlctl"),
		fmt.Sprintf("--tablet-uid=%d", uid), fmt.Sprintf("--mysql-port=%d", mysqlPort),
		"--config-file-not-found-handling=ignore", "init_config")
	if err != nil {
		return fmt.Errorf("mysqlctl init_config: %w", err)
	}
	// Without this file mysqld_safe, by which vttablet starts mysqld after a backup, does nothing.
	_, err = c.command(ctx, "touch", filepath.Join(c.tabletFolder(uid), "error.log"))
	return err
}

// makeGoldenData makes the data folder of a mysqld without Vitess' users and without a binary log, which takes seconds.
func (c *Cluster) makeGoldenData(ctx context.Context) error {
	if err := c.makeMySQLFolder(ctx, goldenUID, 1); err != nil {
		return err
	}
	_, err := c.command(ctx, c.mysqld(goldenUID, "--initialize-insecure", "--skip-log-bin",
		"--innodb-doublewrite=OFF", "--innodb-flush-log-at-trx-commit=0")...)
	if err != nil {
		return fmt.Errorf("mysqld --initialize: %w\nend of its log:\n%s", err, tail(filepath.Join(c.tabletFolder(goldenUID), "error.log")))
	}
	c.progress("an initialised data folder of mysqld")
	return nil
}

// copyGoldenData fills the folder of a tablet. The server's identity is its own.
func (c *Cluster) copyGoldenData(ctx context.Context, uid int) error {
	from, to := c.tabletFolder(goldenUID), c.tabletFolder(uid)
	_, err := c.command(ctx, "sh", "-c", `cp -R "$1/data" "$1/innodb" "$2" && rm "$2/data/auto.cnf"`, "sh", from, to)
	return err
}
