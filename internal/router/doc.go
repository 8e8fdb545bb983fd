// Package router decides where a SQL statement goes on a sharded Vitess, and rewrites it so that it goes there.
//
// Upstream's MySQL plugin writes its statements for one database. [Router.Plan] parses such a statement once with
// Vitess' own parser and returns a [Plan], which says which keyspace it goes to, by which column, and whether that is
// one Vitess shard; and holds the statement to send instead:
//
//   - tables carry their keyspace, so that one connection serves all keyspaces;
//   - WORKLOAD_NAME and PRIORITY tell Vitess' throttlers whose work it is;
//   - ON DUPLICATE KEY UPDATE does not assign columns of the primary key, which are equal anyway, and which Vitess
//     refuses when one of them is a sharding column;
//   - joins name the tables of their columns, since vtgate joins a third USING to the second table;
//   - a list or count of visibility is without the LEFT JOINs that change nothing of it (joins.go), and names its index where MySQL
//     does not find it (indexes.go);
//   - a DELETE or SELECT that could touch any number of rows carries the row limit, and the plan says how to go on:
//     Vitess aborts a statement that touches more rows than its limit.
//
// It also says which writes of a transaction may wait for its next packet (waits.go).
//
// Plans are cached by the statement's text. A statement that the router cannot place gets a plan too: its
// [Plan.Unknown] says why, and its SQL is the caller's.
package router
