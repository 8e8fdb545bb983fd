// Package vschema holds the VSchema of the three keyspaces that a Temporal cluster uses on Vitess, and the types
// that read it. A VSchema tells vtgate which column of a table decides the Vitess shard of a row; the plugin's
// router reads the same files, so a table's place and its sharding column are written down once.
//
//   - temporal (sharded): every table with a history shard id on shard_id, matching's tasks on range_hash, task queue
//     user data on namespace_id. A Temporal transaction concerns one history shard, one task queue or one namespace,
//     so it stays on one Vitess shard.
//   - temporal_global (unsharded): what exists once per cluster: namespaces, cluster metadata, queues, Nexus endpoints.
//   - temporal_visibility (sharded): the visibility store, in one of two profiles: see [Profile].
//
// Keyspace names are the operator's choice, and nothing at run time depends on the vindex functions, only on the
// columns: a keyspace that was set up with xxhash on the same columns works unchanged. The functions here were
// chosen for their spread: history shard ids are dense integers, which reverse_bits divides exactly where a hash
// leaves some Vitess shards with up to half as much again as the mean. Visibility's keys are text under a
// case-insensitive collation, so their vindex ignores case as well: a query for a run id in capitals goes where the
// row is.
package vschema
