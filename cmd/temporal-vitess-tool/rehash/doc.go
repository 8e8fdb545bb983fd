// Package rehash moves the tasks of subqueues from where upstream's plugin stores them to where this project's plugin
// looks for them (see package taskqueue): the range_hash, which is in the primary key of tables tasks and tasks_v2 and
// places the rows on Vitess, becomes that of subqueue 0.
//
// A row is inserted at its new place before it is deleted at the old one, so nothing is lost whenever the program ends. A
// task at both places has the same key but for the range_hash; the next run finds it at the old place and finishes.
// Where all rows are in one database, the two are one transaction.
//
// No matching service may run meanwhile, not even one with this project's plugin. To that one the old places do not
// exist: it takes the subqueue for empty, moves the subqueue's ack level to its end, and deletes what appears below it.
// For the same reason a task below the ack level, where it can be if such a server has run before, would never be
// delivered: the ack level goes back before the rows arrive.
package rehash
