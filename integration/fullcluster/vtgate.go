package fullcluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

// vtgateFlags are what operators of Temporal are advised to set; buffering may follow soon after buffering, since tests break
// one thing after the other; and a vtgate sees soon that there is a new tablet.
var vtgateFlags = []string{
	"--cell=" + cell, "--cells-to-watch=" + cell,
	"--tablet-types-to-wait=PRIMARY",
	"--tablet-refresh-interval=5s",
	"--service-map=grpc-vtgateservice",
	"--mysql-auth-server-impl=none",
	"--grpc-bind-address=127.0.0.1",
	"--no-scatter",
	"--transaction-mode=SINGLE",
	"--enable-buffer",
	"--buffer-window=8s", "--buffer-max-failover-duration=10s",
	"--buffer-min-time-between-failovers=5s",
	"--buffer-drain-concurrency=4",
}

type vtgate struct {
	process        *Process
	addr, httpAddr string
	grpcAddr       string
	network        *Network // the way to addr; nil without
	db             *sql.DB  // to ask it what it sees
}

const vtgatePorts = 3

func (c *Cluster) placeVTGate(port func() int) error {
	httpPort, grpcPort, mysqlPort := port(), port(), port()
	g := &vtgate{addr: address(mysqlPort), httpAddr: address(httpPort), grpcAddr: address(grpcPort)}
	var err error
	if g.db, err = cluster.Open("root", c.behind(mysqlPort), ""); err != nil {
		return err
	}
	g.db.SetMaxIdleConns(0) // a drained vtgate waits for nobody here
	flags := []string{
		"--mysql-server-bind-address=" + c.host(), fmt.Sprintf("--mysql-server-port=%d", mysqlPort), fmt.Sprintf("--grpc-port=%d", grpcPort),
	}
	flags = slices.Concat(flags, vtgateFlags, c.config.VTGateFlags)
	name := fmt.Sprintf("vtgate %d", len(c.vtgates))
	g.network = c.newNetwork(name, mysqlPort)
	g.process = c.newProcess(name, g.db.PingContext, c.vitess("vtgate", httpPort, flags...)...)
	c.vtgates = append(c.vtgates, g)
	return nil
}

// VTGate is the process of one of them.
func (c *Cluster) VTGate(i int) *Process { return c.vtgates[i].process }

// VTGateNetwork is the way to where a vtgate speaks the MySQL protocol; nil if the configuration has none.
func (c *Cluster) VTGateNetwork(i int) *Network { return c.vtgates[i].network }

// VTGateAddrs are the host:port where the vtgates speak the MySQL protocol. They accept any user, with any password.
func (c *Cluster) VTGateAddrs() []string {
	var addrs []string
	for _, g := range c.vtgates {
		addrs = append(addrs, g.addr)
	}
	return addrs
}

// VTGateHTTP is the host:port of a vtgate's status pages, such as /debug/vars.
func (c *Cluster) VTGateHTTP(i int) string { return c.vtgates[i].httpAddr }

// WaitServing returns when each vtgate that runs sees each tablet whose processes run as serving, and a primary for each
// Vitess shard.
func (c *Cluster) WaitServing(ctx context.Context) error {
	for i, g := range c.vtgates {
		if !g.process.Alive() {
			continue
		}
		if err := poll(ctx, func(ctx context.Context) error { return c.serves(ctx, g) }); err != nil {
			return fmt.Errorf("vtgate %d: %w", i, err)
		}
	}
	return nil
}

// serves returns an error that names the first tablet that the vtgate does not see as it should.
func (c *Cluster) serves(ctx context.Context, g *vtgate) error {
	type seen struct{ kind, state string }
	tablets := map[string]seen{} // by alias
	rows, err := g.db.QueryContext(ctx, "SHOW VITESS_TABLETS")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var cell, keyspace, shard, kind, state, alias, host, since string
		if err := rows.Scan(&cell, &keyspace, &shard, &kind, &state, &alias, &host, &since); err != nil {
			return err
		}
		tablets[alias] = seen{kind, state}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	primaries := map[string]bool{}
	all := c.Tablets()
	for _, t := range all {
		shard := t.Keyspace + "/" + t.Shard
		found := tablets[t.Alias]
		if found.state == "SERVING" && found.kind == "PRIMARY" {
			primaries[shard] = true
		}
		if t.mysqld.Alive() && t.vttablet.Alive() && found.state != "SERVING" {
			err = errors.Join(err, fmt.Errorf("tablet %s of %s is %q", t.Alias, shard, found.state))
		}
	}
	for _, t := range all {
		if shard := t.Keyspace + "/" + t.Shard; t.Index == 0 && !primaries[shard] {
			err = errors.Join(err, fmt.Errorf("%s has no primary", shard))
		}
	}
	return err
}
