// Package fullcluster runs a distributed Vitess on one machine, for tests that break parts of it: etcd, vtctld, vtorc,
// several vtgates, and for each Vitess shard a primary and replicas, each a vttablet with a mysqld of its own. All are
// processes of their own, which a test can kill, stop and start again. (Package cluster is quicker to start and enough for
// what only needs a sharded Vitess.)
//
//	c, err := fullcluster.Start(ctx, fullcluster.Config{Keyspaces: keyspaces, VTGates: 2})
//	if err != nil { ... }
//	defer c.Stop()
//	c.VTTablet("temporal", "-80", 0).Kill()
//
// [StartTemporal] brings up Temporal's keyspaces, and configures stores that reach them through the plugin.
//
// All ports are free ones of 127.0.0.1 that stay the same when a process is started again; all data lies in a temporary
// folder. Both are given back by Stop, and also when the process that called Start dies in whatever way.
//
// Package fullcluster needs the programs that `make tools-cluster` puts into .tools of the checkout.
package fullcluster
