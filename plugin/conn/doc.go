// Package conn is a database/sql driver around go-sql-driver/mysql that sends statements as package router plans
// them. It sets up sessions for vtgate, fills placeholders on the client (a server-side PREPARE would ask an unrelated
// Vitess shard), and makes a statement that Vitess' row limit would abort into several that look like one to the
// caller: a DELETE in chunks, a SELECT in pages.
package conn
