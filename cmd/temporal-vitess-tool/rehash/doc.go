// Package rehash moves the tasks of subqueues from where upstream's plugin stores them to where this project's plugin
// looks for them (see package taskqueue): the range_hash, which is in the primary key of tables tasks and tasks_v2 and
// places the rows on Vitess, becomes that of subqueue 0.
//
// Where all rows are in one database, a task moves in one transaction, and servers that read both places may run. Between
// Vitess shards a row is inserted at its new place before it is deleted at the old one, so nothing is lost whenever the
// program ends. A task at both places is the same row but for the range_hash; the next run finds it at the old place and
// finishes.
//
// A row with the same key and other values is another task, of a task queue that was deleted and created again, so that
// its task IDs started over. Both stay where they are, and the operator is told; see [Kept].
//
// No matching service may run meanwhile that reads one place only, not even one with this project's plugin. To that one the
// old places do not exist: it takes the subqueue for empty, moves the subqueue's ack level to its end, and deletes what appears below it.
// For the same reason a task below the ack level, where it can be if such a server has run before, would never be
// delivered: the ack level goes back before the rows arrive.
package rehash
