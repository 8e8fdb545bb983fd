// Package rehash tests temporal-vitess-tool's rehash-task-queues on the places a cluster may be at: a sharded keyspace,
// an unsharded one, and a MySQL server without Vitess. Upstream's plugin writes the tasks, this project's reads them.
package rehash
