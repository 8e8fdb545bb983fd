// Package cluster runs a local, sharded Vitess for tests and demonstrations: Vitess' own vttestserver as a subprocess,
// which starts one mysqld and one vtcombo (vtgate and a vttablet for each Vitess shard in one process).
//
//	c, err := cluster.Start(ctx, cluster.Config{Keyspaces: []cluster.Keyspace{{
//		Name:    "temporal",
//		Shards:  4,
//		VSchema: vschemaJSON,
//		DDL:     statements,
//	}}})
//	if err != nil { ... }
//	defer c.Stop()
//	db, err := sql.Open("mysql", "root@tcp("+c.VTGateAddr()+")/temporal")
//
// All ports are free ones of 127.0.0.1, all data lies in a temporary folder. Both are given back by Stop, and also when
// the process that called Start dies in whatever way. The data is thrown away, so the mysqld never waits for the disk.
//
// vtgate refuses scatter queries (--no-scatter) and lets transactions span Vitess shards (transaction mode MULTI) unless
// the session asks for SINGLE. So a client that forgets to ask is seen in Vars.CommitModes.
//
// vttestserver cannot reparent, reshard or fail over; that takes a full cluster.
//
// Package cluster links nothing of Vitess. It needs the programs that `make tools` puts into .tools of the checkout.
package cluster
