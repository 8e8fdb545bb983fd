// Package schema splits Temporal's MySQL schema by keyspace. The statements are upstream's own, read from the schema
// files embedded in go.temporal.io/server, so a new Temporal release brings its tables by itself; package vschema says
// which keyspace a table belongs to, and a table that it does not know is an error here and in the tests.
//
// The differences from upstream, all in this package's differences list:
//
//   - buffered_events.id keeps AUTO_INCREMENT, which orders the events of one run, but loses UNIQUE: each Vitess shard
//     counts for itself, so ids of two Vitess shards may be equal when these are merged. The primary key is (id, shard_id),
//     and an index has the columns of upstream's primary key: MySQL wants a key that begins with the AUTO_INCREMENT
//     column, and Reshard and MoveTables copy tables without any but their primary key (--defer-secondary-keys, which is
//     the default).
package schema
