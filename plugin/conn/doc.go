// Package conn is a database/sql driver around go-sql-driver/mysql that sends statements as package router plans
// them.
//
//   - Sessions are set up for vtgate, and placeholders are filled in on the client: a server-side PREPARE would ask an
//     unrelated Vitess shard.
//   - Transactions are pipelined: what nobody waits for travels with the next statement that somebody does. See
//     transaction.go, and router's waits.go for what may wait.
//   - A statement that Vitess' row limit would abort becomes several that look like one to the caller: a DELETE in
//     chunks, a SELECT in pages.
//   - Errors have classes (errors.go). Where nothing was applied the plugin sends again; errors of one Vitess shard or
//     one connection reach upstream in a form that does not make it replace the whole pool.
package conn
