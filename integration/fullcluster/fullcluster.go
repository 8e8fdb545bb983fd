package fullcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// cell is the name of the only cell.
const cell = "zone1"

// Cluster is a running Vitess. Its methods may be called from several goroutines.
type Cluster struct {
	config     Config
	tools      tools
	folder     string
	logs       string
	supervisor *supervise.Supervisor
	began      time.Time
	commands   atomic.Int64 // that command has run

	etcd    *Process
	vtctld  *Process
	vtorc   *Process // nil without
	vtgates []*vtgate

	mu      sync.Mutex
	tablets []*Tablet // to be read through Tablets
	nextUID int

	etcdAddr, vtctldAddr string
}

// Start returns when all vtgates serve all keyspaces, with the schema applied. The context limits the start, not the life of
// the cluster. After an error nothing is left behind; where a process failed, the error holds the end of its log.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start a full Vitess: %w", err)
	}
	return c, nil
}

func start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	tools, err := findTools(dir)
	if err != nil {
		return nil, err
	}
	folder, err := supervise.MakeFolder()
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: cfg, tools: tools, folder: folder, logs: cfg.LogFolder, began: time.Now(), nextUID: firstUID}
	if c.logs == "" {
		c.logs = filepath.Join(folder, "logs")
	}
	if err = c.stage(); err == nil {
		c.supervisor, err = supervise.Start(folder, c.environment(), nil, true)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	if err = c.place(); err == nil {
		err = c.bringUp(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// place gives all processes their ports, and starts none.
func (c *Cluster) place() error {
	tablets := 0
	for _, keyspace := range c.config.Keyspaces {
		tablets += keyspace.Shards * (1 + keyspace.Replicas)
	}
	ports, err := freePorts(topologyPorts + vtorcPorts + tabletPorts*tablets + vtgatePorts*c.config.VTGates)
	if err != nil {
		return err
	}
	take := func() int {
		port := ports[0]
		ports = ports[1:]
		return port
	}
	c.placeTopology(take)
	if c.config.VTOrc {
		c.placeVTOrc(take)
	}
	for _, keyspace := range c.config.Keyspaces {
		for _, shard := range cluster.ShardNames(keyspace.Shards) {
			for index := range 1 + keyspace.Replicas {
				if _, err := c.placeTablet(keyspace.Name, shard, index, take); err != nil {
					return err
				}
			}
		}
	}
	for range c.config.VTGates {
		if err := c.placeVTGate(take); err != nil {
			return err
		}
	}
	return nil
}

// bringUp starts everything. What does not need each other starts at the same time.
func (c *Cluster) bringUp(ctx context.Context) error {
	topology, golden := make(chan struct{}), make(chan struct{})
	tablets, tabletsCtx := errgroup.WithContext(ctx)
	tablets.Go(func() error {
		if err := c.startTopology(tabletsCtx); err != nil {
			return err
		}
		close(topology)
		return nil
	})
	tablets.Go(func() error {
		if err := c.makeGoldenData(tabletsCtx); err != nil {
			return err
		}
		close(golden)
		return nil
	})
	for _, t := range c.Tablets() {
		tablets.Go(func() error {
			return c.startTablet(tabletsCtx, t, topology, golden)
		})
	}
	if err := tablets.Wait(); err != nil {
		return err
	}
	c.progress("%d tablets", len(c.Tablets()))

	shards, shardsCtx := errgroup.WithContext(ctx)
	for _, keyspace := range c.config.Keyspaces {
		shards.Go(func() error {
			return c.applyVSchema(shardsCtx, keyspace)
		})
		for _, shard := range cluster.ShardNames(keyspace.Shards) {
			shards.Go(func() error {
				return c.startShard(shardsCtx, keyspace, shard)
			})
		}
	}
	if err := shards.Wait(); err != nil {
		return err
	}
	c.progress("primaries, schema and VSchema")

	servers, serversCtx := errgroup.WithContext(ctx)
	if c.vtorc != nil {
		servers.Go(func() error { return c.vtorc.start(serversCtx, c.vtorc.commandLine) })
	}
	for _, g := range c.vtgates {
		servers.Go(func() error {
			if err := g.network.start(); err != nil {
				return err
			}
			return g.process.start(serversCtx, g.process.commandLine)
		})
	}
	if err := servers.Wait(); err != nil {
		return err
	}
	if err := c.WaitServing(ctx); err != nil {
		return err
	}
	if err := c.waitForColumns(ctx); err != nil {
		return err
	}
	c.progress("%d vtgates", len(c.vtgates))
	return nil
}

// stage fills the folder with what the programs read.
func (c *Cluster) stage() error {
	for _, name := range []string{"backups", "commands", "logs"} {
		if err := os.Mkdir(filepath.Join(c.folder, name), 0o755); err != nil {
			return err
		}
	}
	return c.stageMySQL()
}

func (c *Cluster) environment() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + c.folder,
		"TMPDIR=" + c.folder,
		"VTROOT=" + c.folder,
		"VTDATAROOT=" + c.folder,
		"VT_MYSQL_ROOT=" + c.tools.mysqlRoot,
		"EXTRA_MY_CNF=" + c.mysqlSettings(),
	}
	if runtime.GOARCH != "amd64" { // etcd 3.4 knows no other without being told so
		env = append(env, "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH)
	}
	return env
}

// Stop ends all processes of the cluster and removes its data. It may be called more than once.
func (c *Cluster) Stop() error {
	err := c.supervisor.Stop()
	for _, t := range c.Tablets() {
		t.stopNetworks()
	}
	for _, g := range c.vtgates {
		g.network.stop()
	}
	return err
}

// Processes are all processes of the cluster: those that it starts first come first.
func (c *Cluster) Processes() []*Process {
	processes := []*Process{c.etcd, c.vtctld}
	for _, t := range c.Tablets() {
		processes = append(processes, t.mysqld, t.vttablet)
	}
	if c.vtorc != nil {
		processes = append(processes, c.vtorc)
	}
	for _, g := range c.vtgates {
		processes = append(processes, g.process)
	}
	return processes
}

// Etcd holds the topology.
func (c *Cluster) Etcd() *Process { return c.etcd }

// EtcdAddr is the host:port where etcd serves its clients. The global topology is below /vitess/global.
func (c *Cluster) EtcdAddr() string { return c.etcdAddr }

// VTCtld serves VTCtl.
func (c *Cluster) VTCtld() *Process { return c.vtctld }

// VTOrc is nil if the configuration has none.
func (c *Cluster) VTOrc() *Process { return c.vtorc }

// VTCtldAddr is the host:port where vtctld speaks gRPC, for vtctldclient.
func (c *Cluster) VTCtldAddr() string { return c.vtctldAddr }

// VTCtl runs vtctldclient with the arguments and returns what it prints, without what it logs.
func (c *Cluster) VTCtl(ctx context.Context, args ...string) (string, error) {
	return c.vtctldclient(ctx, append([]string{"--server", c.vtctldAddr, "--action-timeout", "60s"}, args...)...)
}

func (c *Cluster) vtctldclient(ctx context.Context, args ...string) (string, error) {
	command := append([]string{c.tools.program("vtctldclient"), "--log-level", "error"}, args...)
	output, err := c.command(ctx, command...)
	if err != nil {
		return output, fmt.Errorf("vtctldclient %s: %w", strings.Join(args, " "), err)
	}
	return output, nil
}

// command runs a program to its end, and returns its standard output. It is an error if the program fails.
func (c *Cluster) command(ctx context.Context, commandLine ...string) (string, error) {
	base := filepath.Join(c.folder, "commands", fmt.Sprint(c.commands.Add(1)))
	stdout, stderr := base+".out", base+".err"
	program, err := c.supervisor.Run(stdout, stderr, commandLine...)
	if err != nil {
		return "", err
	}
	defer os.Remove(stdout)
	defer os.Remove(stderr)
	select {
	case <-program.Ended():
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), program.Signal(syscall.SIGKILL))
	}
	output, err := os.ReadFile(stdout)
	if err != nil {
		return "", err
	}
	if status := program.Status(); status != 0 {
		return string(output), fmt.Errorf("status %d\n%s", status, tail(stderr))
	}
	return string(output), nil
}

func (c *Cluster) progress(format string, args ...any) {
	if c.config.Log != nil {
		fmt.Fprintf(c.config.Log, "%5.1f s  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
	}
}
