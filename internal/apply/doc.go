// Package apply brings Temporal's keyspaces on a running Vitess to a version of upstream's schema.
//
// Upstream's own update task reads the versioned schema files and says what each version takes ([Steps]). [Look] reads
// what each Vitess shard has. From both, [Setup] and [Update] make a plan of actions: the statements that are lacking,
// with their keyspace and Vitess shards, then the records of the new version. Nothing is sent meanwhile, since the
// statements are applied to parsed tables in memory; so a plan can be printed, written to files, or run ([Run]).
//
// A plan has only what is lacking. So whatever interrupts a run, at whichever statement and after whichever Vitess shard,
// the next run looks and goes on; and no error text is ever read as "done already".
//
// Upstream's versioned files do not lead to the tables of its newest schema file: they leave columns nullable that a new
// set-up declares NOT NULL, defaults that it does not have, and another order of columns. The last step of an update to
// the newest version therefore compares each table with that of a new set-up and alters what differs, with Vitess'
// package schemadiff; what an operator has added stays. This also makes a UNIQUE buffered_events.id, which upstream's tool creates, a plain index.
//
// The keyspaces of a store, and of both, may be one. On MySQL without Vitess a database takes the place of a keyspace with one Vitess shard.
package apply
