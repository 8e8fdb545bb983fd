// Command run starts a Vitess of many processes with Temporal's keyspaces, tells how to reach it, and keeps it up until
// Ctrl-C: to try failovers, resharding and the tool by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

func main() {
	vitessShards := flag.Int("vitess-shards", 2, "number of Vitess shards of each sharded keyspace")
	replicas := flag.Int("replicas", 1, "number of replicas of each Vitess shard; from 2 on a commit waits for one of them (semi_sync)")
	vtgates := flag.Int("vtgates", 2, "number of vtgates")
	targets := flag.Int("targets", 0, "number of further Vitess shards of temporal, without replicas, as targets of a Reshard")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *vitessShards, *replicas, *vtgates, *targets); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, vitessShards, replicas, vtgates, targets int) (err error) {
	logs, err := os.MkdirTemp("", "temporal-vitess-cluster-")
	if err != nil {
		return err
	}
	if err := os.Chmod(logs, 0o777); err != nil { // the processes are not root's
		return err
	}
	c, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{
		VitessShards: vitessShards,
		Replicas:     map[string]int{testbed.Main: replicas, testbed.Global: replicas, testbed.Visibility: replicas},
		Cluster:      fullcluster.Config{VTGates: vtgates, VTOrc: true, Log: os.Stdout, LogFolder: logs},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if targets > 0 {
		if err := c.AddShards(ctx, testbed.Main, cluster.ShardNames(targets)...); err != nil {
			return err
		}
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	fmt.Printf("\nIts logs are in %s\n\n", logs)
	for i, address := range c.VTGateAddrs() {
		fmt.Printf("vtgate %d  %s, pages at http://%s\n", i, address, c.VTGateHTTP(i))
	}
	fmt.Printf("vtctld    %s\n\n", c.VTCtldAddr())
	fmt.Printf("%s/.tools/bin/vtctldclient --server %s GetTablets\n", root, c.VTCtldAddr())
	for _, tablet := range c.Tablets() {
		fmt.Printf("  %s  %s/%s  process %d, its mysqld %d, pages at http://%s\n",
			tablet.Alias, tablet.Keyspace, tablet.Shard, tablet.VTTablet().PID(), tablet.MySQLd().PID(), tablet.HTTPAddr())
	}
	fmt.Printf("\nCtrl-C ends all.\n")
	<-ctx.Done()
	return nil
}
