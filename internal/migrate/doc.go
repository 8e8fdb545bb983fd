// Package migrate moves a running Temporal cluster's tables between keyspaces of one Vitess, by Vitess' own MoveTables: there,
// back, and for good.
//
// A migration is one workflow of MoveTables (a [Move]) for each pair of keyspaces. Which there are, and how far each is, is read
// from Vitess each time ([Migration.State]): the streams, the routing rules, the tables that Vitess shards deny. Nothing else is
// kept, so any method may be called again, from anywhere, after whatever has interrupted it.
//
// Neither what a call of vtctld returns nor the state of a stream is taken for success: vtctld makes a workflow whose streams then
// fail, and a stream that cannot write says that it runs, with the error as its message.
package migrate
