package outcome

// quotingTexts begin errors of MySQL that quote values: the server's answers to a statement, whatever the values say.
var quotingTexts = []struct {
	text   string
	number uint16
}{
	{"Duplicate entry '", 1062},
	{"You have an error in your SQL syntax", 1064},
	{"Incorrect ", 1366},
	{"Truncated incorrect ", 1292},
	{"Data too long for column '", 1406},
	{"Out of range value for column '", 1264},
	{"Invalid JSON text", 3140},
}

// errorTable has the errors of vtgate and MySQL: the first row whose number (0 for any) and text match decides. The
// texts are those of Vitess 0.24; a test holds the table against its source, in both directions.
var errorTable = []struct {
	number uint16
	text   string
	class  Class
	// tooLong: the statement took longer than it may, and would again.
	tooLong bool
	// when it is seen.
	when string
}{
	{1062, "", Refused, false, "a duplicate key"},

	{0, "multi-db transaction attempted", Defect, false, "a transaction writes to a second Vitess shard"},
	{0, "VT12001", Defect, false, "vtgate does not support the statement on a sharded keyspace"},
	{0, "which is disallowed using the `no-scatter`", Defect, false, "a query without its sharding column"},
	{0, "does not have a primary vindex", Defect, false, "the VSchema lacks the table's vindex"},
	{0, "VT09003", Defect, false, "an INSERT without its sharding column"},
	{0, "VT09004", Defect, false, "an INSERT without a list of columns"},
	{0, "VT09015", Defect, false, "a plan over several Vitess shards"},
	{0, "does not have exactly one shard", Defect, false, "the VSchema says unsharded, the topology does not"},
	{0, "VT09023", Defect, false, "a sharding value that is on no Vitess shard"},
	{0, "VT09024", Defect, false, "a sharding value that is on several Vitess shards"},
	{0, "reverted partial DML execution failure", Defect, false, "a write to several Vitess shards"},

	{0, "VT09032", NotCommitted, false, "a statement after a failed one that rolled the transaction back"},
	{0, "VT15001", NotCommitted, false, "a transaction whose Vitess shard fails over, or that its vttablet has lost"},
	{0, "transaction rolled back to reverse changes of partial DML execution", NotCommitted, false, "a part of a statement failed"},

	{0, "(transaction committed)", Ambiguous, false, "a COMMIT that came before, or failed"},
	{0, "in use: transaction committed", Ambiguous, false, "a COMMIT that is under way"},
	{0, "connection renew", Ambiguous, false, "a COMMIT was done, and its connection not renewed"},
	{0, "renew existing connection", Ambiguous, false, "a COMMIT was done, and its connection not renewed"},
	{0, ": ended at ", NotCommitted, false, "a transaction that vttablet has ended: its killer, a demotion, a lost connection"},
	{0, ": in use: ", NotCommitted, false, "a transaction that vttablet is about to end"},
	{0, "not found (potential transaction timeout)", NotCommitted, false, "a transaction that vttablet does not know any more"},
	{0, "transaction was aborted", NotCommitted, false, "vttablet's connection was closed before the statement"},
	{0, "connection was aborted", NotCommitted, false, "vttablet's connection was closed before the statement"},
	{0, "connection is closed", NotCommitted, false, "vttablet's connection was closed before the statement"},
	{0, "not in a transaction", NotCommitted, false, "vttablet's transaction is gone"},
	{0, "before execution started", NotCommitted, false, "the deadline ended before mysqld got the statement"},

	{0, "transaction pool connection limit exceeded", Overloaded, false, "a vttablet has no connection for a transaction"},
	{0, "transaction pool connection waiter cap exceeded", Overloaded, false, "a vttablet has no connection for a transaction"},
	{0, "transaction pool aborting request", Overloaded, false, "a vttablet had no connection for a transaction in time"},
	{0, "connection pool waiter cap reached", Overloaded, false, "a vttablet has no connection for a statement"},
	{0, "connection pool timed out", Overloaded, false, "a vttablet has no connection for a statement"},
	{0, "connection pool context already expired", Overloaded, false, "a vttablet had no connection for a statement in time"},
	{0, "resource pool timed out", Overloaded, false, "a pool of Vitess' has nothing free"},
	{0, "Transaction throttled", Overloaded, false, "Vitess' transaction throttler"},
	{0, "hot row protection: too many queued transactions", Overloaded, false, "Vitess' hot row protection"},
	{0, "primary buffer is full", Overloaded, false, "failover: vtgate holds as many requests as it may"},
	{0, "buffer full: request evicted", Overloaded, false, "failover: vtgate holds as many requests as it may"},
	{0, "Too many connections", Overloaded, false, "a vttablet gets no connection of mysqld"},
	{1040, "", Overloaded, false, "too many connections"},
	{1041, "", Overloaded, false, "out of resources"},
	{1226, "", Overloaded, false, "a limit of the user's"},

	{0, "query payload size above threshold", Refused, false, "vtgate's limit for a statement"},
	{0, "in-memory row count exceeded", Refused, false, "vtgate's limit of rows"},
	{0, "ow count exceeded ", Refused, false, "vttablet's limit of rows"},
	{0, "grpc: received message larger than max", Refused, false, "rows of more bytes than vtgate takes"},
	{0, "grpc: trying to send message larger than max", Refused, false, "a statement of more bytes than vtgate sends"},
	{1153, "", Refused, false, "more bytes than the server takes"},
	{1203, "", Overloaded, false, "too many connections of the user"},

	{0, "context was canceled before failover finished", NotExecuted, false, "failover: it took longer than the caller, or vtgate, waits"},
	{0, "inconsistent state detected, primary is serving", NotExecuted, false, "failover ends"},
	{0, "no healthy tablet available", NotExecuted, false, "failover, not buffered"},
	{0, "primary is not serving, there may be a reparent operation in progress", NotExecuted, false, "failover"},
	{0, "is either down or nonexistent", NotExecuted, false, "a vttablet that is gone from the topology"},
	{0, "operation not allowed in state SHUTTING_DOWN", NotExecuted, false, "demotion"},
	{0, "operation not allowed in state NOT_SERVING", NotExecuted, false, "demotion"},
	{0, "tx engine can't accept new connections", NotExecuted, false, "demotion: BEGIN"},
	{0, "wrong tablet type", NotExecuted, false, "demotion"},
	{0, "connection pool is closed", NotExecuted, false, "demotion"},
	{0, "VT14002", NotExecuted, false, "vtgate has no vttablet to ask"},
	{0, "VT14003", NotExecuted, false, "vtgate has no connection to the vttablet"},
	{0, "VT14004", NotExecuted, false, "vtgate lost the keyspace"},
	{0, "vttablet: Connection Closed", NotExecuted, false, "a vttablet that is gone from the topology"},
	{0, "no database available", NotExecuted, false, "a vtgate that starts, and has no VSchema yet"},
	{0, "has been disabled", NotExecuted, false, "routing rules without a target"},
	{0, "disallowed due to rule: enforce denied tables", NotExecuted, false, "MoveTables switches traffic"},
	{0, "code = FailedPrecondition desc = disallowed due to rule", NotExecuted, false, "a rule for queries that asks to try again"},
	{0, "buffer timeout after", NotExecuted, false, "online DDL cuts over"},
	{0, "current keyspace is being resharded", NotExecuted, false, "Reshard switches traffic"},
	{0, "destination shard is missing after a resharding operation", NotExecuted, false, "Reshard switched traffic"},
	{0, "upstream shards are not available", NotExecuted, false, "Reshard switched traffic"},
	{0, "unexpected 'autocommitted' state in transaction", NotExecuted, false, "Reshard switches traffic during an insert outside of a transaction"},
	{0, "rror while dialing", NotExecuted, false, "a vttablet is down"},
	{0, "error reading server preface", NotExecuted, false, "a vttablet is down"},
	{0, "name resolver error", NotExecuted, false, "a vttablet is gone"},
	{2002, "", NotExecuted, false, "a vttablet cannot connect to its mysqld"},
	{2003, "", NotExecuted, false, "a vttablet cannot connect to its mysqld"},
	{0, "cannot send HandshakeResponse41", NotExecuted, false, "a vttablet cannot connect to its mysqld"},
	{0, "cannot send SSLRequest", NotExecuted, false, "a vttablet cannot connect to its mysqld"},
	{1053, "vttablet: ", Ambiguous, false, "mysqld is shutting down"},
	{1053, "", NotExecuted, false, "the vtgate is shutting down"},
	{3168, "", NotExecuted, false, "mysqld starts"},
	{1290, "", NotExecuted, false, "the primary was demoted"},
	{1792, "", NotExecuted, false, "the primary was demoted"},
	{1836, "", NotExecuted, false, "the primary was demoted"},

	{0, "killing query ID", Ambiguous, true, "vttablet ended a statement that took too long"},
	{0, "killing connection ID", Ambiguous, true, "vttablet ended a transaction whose statement took too long"},
	{3024, "", Ambiguous, true, "a statement took too long"},
	{1078, "", NotCommitted, false, "mysqld ends"},
	{1079, "", NotCommitted, false, "mysqld ends"},
	{1152, "", NotCommitted, false, "mysqld aborted the connection"},
	{1213, "", NotCommitted, false, "a deadlock"},
	{1180, "", Ambiguous, false, "an error during COMMIT"},

	{2006, "", Ambiguous, false, "a vttablet lost its mysqld"},
	{2012, "", Ambiguous, false, "a vttablet lost its mysqld"},
	{2013, "", Ambiguous, false, "a vttablet lost its mysqld"},
	{2014, "", Ambiguous, false, "a vttablet lost its mysqld"},
	{2027, "", Ambiguous, false, "a vttablet lost its mysqld"},
	{0, "code = Canceled desc = ", Ambiguous, false, "mysqld was killed, or vtgate gave up"},
	{0, "initial packet read failed", Ambiguous, false, "mysqld was killed"},
	{0, "code = Unavailable", Ambiguous, false, "a vttablet went away during the statement"},
	{0, "code = DeadlineExceeded", Ambiguous, true, "the statement took longer than vtgate waits"},
	{0, "context deadline exceeded", Ambiguous, true, "the statement took longer than vtgate waits"},
	{0, "context canceled", Ambiguous, false, "vtgate gave up"},
	{0, "stream terminated by RST_STREAM", Ambiguous, false, "vtgate lost the vttablet"},
	{0, "grpc: the client connection is closing", Ambiguous, false, "vtgate lost the vttablet"},
	{0, "ncaught panic", Ambiguous, false, "a bug in Vitess"},
	{1317, "", Ambiguous, true, "somebody ended the statement"},

	{0, "VT0", Refused, false, "vtgate does not take the statement as it is"},
	{0, "upported only for primary tablet type", Refused, false, "a write to a replica"},
	{0, "is not part of the allowed tablet types", Refused, false, "a read from a type of vttablet that vtgate does not use"},
	{0, "transactionID should be zero", Refused, false, "a bug in Vitess, before anything is sent"},
	{0, "ambiguous table reference", Refused, false, "a table without its keyspace"},
	{0, "cannot start read write transaction on a read only tablet", Refused, false, "a transaction on a replica"},
	{0, "server does not allow insecure connections", Refused, false, "TLS is required"},
}

// refusedNumbers are MySQL's answers to a statement that nothing but another statement changes.
var refusedNumbers = []uint16{
	1021, 1037, 1038, 1114, 1206, // no room or memory
	1044, 1045, 1142, 1143, 1227, 1370, 3159, // rights
	1046, 1049, 1050, 1051, 1054, 1060, 1061, 1072, 1091, 1109, 1146, 1176, 1193, 1305, 3750, // names
	1048, 1136, 1263, 1264, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1644, 1690, 3140, 3141, 3143, 3156, 3819, // values
	1055, 1064, 1065, 1149, 1210, 1222, 1241, 1295, 1235, // statements
	1099, 1100, 1205, 3572, // locks; 1205 ends the statement only
	1216, 1217, 1451, 1452, // foreign keys
	2007, 2026, // TLS and version between vttablet and mysqld
}
