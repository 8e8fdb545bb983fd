// Package conn is a database/sql driver around go-sql-driver/mysql that sends statements as package router plans
// them.
//
//   - A connection is virtual. It takes a session (package session) with its first statement, when it is known which
//     Vitess shard that is for, and gives it back when it needs none.
//   - Placeholders are filled in on the client: a server-side PREPARE would ask an unrelated Vitess shard.
//   - Transactions are pipelined: what nobody waits for travels with the next statement that somebody does. See
//     transaction.go, and router's waits.go for what may wait. Locks whose answer is known wait as well (owners.go), a lock
//     takes along the next (ahead.go), and queries that are known to follow each other are one statement (readset.go).
//   - A statement that Vitess' row limit would abort becomes several that look like one to the caller: a DELETE in
//     chunks, a SELECT in pages.
//   - What an error means is in package outcome. Where nothing was applied the packet is sent again (send.go).
package conn
