package doctor

import "context"

// check is one thing to look at.
type check struct {
	name  string
	title string
	why   string
	fix   string
	// vitess reports that a MySQL without Vitess has nothing of it.
	vitess bool
	// run adds at least one observation, or returns why it could not look.
	run func(context.Context, *examination, *observations) error
}

// Names of checks that others refer to.
const (
	reachability = "reachability"
	keyspaces    = "keyspaces"
	tables       = "tables"
)

// setUp is how to fix that nothing is there.
const setUp = "Run `temporal-vitess-tool setup-schema`."

// checks are in the order in which they run: reachability opens the connections, keyspaces finds the Vitess shards.
var checks = []check{
	{
		name:  reachability,
		title: "vtgate and vtctld answer",
		why:   "Temporal reaches its keyspaces through vtgate only.",
		fix:   "Give the address of vtgate's MySQL port with --endpoint and --port, that of vtctld's gRPC port with --vtctld.",
		run:   checkReachability,
	},
	{
		name:   "vtgates",
		title:  "Temporal does not depend on one vtgate",
		why:    "While the only vtgate is down or being replaced, all of Temporal stands still.",
		fix:    "Run two vtgates or more, and give Temporal's stores all of them as connectAddr: several host:port with commas between, a name that stands for several addresses, or a balancer. Tell this check with --connect-addr if that is not --endpoint.",
		vitess: true,
		run:    checkVTGates,
	},
	{
		name:  "tls",
		title: "the connection to vtgate is private",
		why:   "Without TLS, whoever is on the network reads all workflows; without verification, anyone can pose as vtgate.",
		fix:   "Start vtgate with --mysql-server-ssl-cert and --mysql-server-ssl-key; set tls in Temporal's configuration and --tls here, with the CA's certificate.",
		run:   checkTLS,
	},
	{
		name:  keyspaces,
		title: "the keyspaces exist and are sharded as they should be",
		why:   "The plugin sends each table's statements to one keyspace, and each row to the Vitess shard of its sharding column.",
		fix:   "Create what is missing (vtctldclient CreateKeyspace, or your provider's console), start its vttablets, and apply its VSchema with `temporal-vitess-tool vschema apply`.",
		run:   checkKeyspaces,
	},
	{
		name:   "moves",
		title:  "the keyspaces answer for themselves",
		why:    "While a MoveTables is under way, routing rules say which keyspace answers for a table: what this command finds in the keyspaces' mysqlds need not be what Temporal uses.",
		fix:    "See `temporal-vitess-tool migrate status`. `migrate complete` or `migrate cancel` ends it; of another's MoveTables, vtctldclient GetRoutingRules has the rules.",
		vitess: true,
		run:    checkMoves,
	},
	{
		name:  "versions",
		title: "Vitess and MySQL are of tested versions",
		why:   "Older ones lack what the plugin or the schema needs; newer ones may have changed it.",
		fix:   "Upgrade, or run this project's tests on your version.",
		run:   checkVersions,
	},
	{
		name:  tables,
		title: "every table is in its keyspace, on every Vitess shard",
		why:   "A statement on a table that is missing on one Vitess shard fails for the history shards there only.",
		fix:   "If the schema version is old, run `temporal-vitess-tool update-schema`. Else `setup-schema --emit DIR` writes the statement that creates a table; one through vtgate goes to every Vitess shard, one after USE `keyspace:vitess-shard` there only. Drop a table that belongs elsewhere once it is empty.",
		run:   checkTables,
	},
	{
		name:  "columns",
		title: "columns have their names, types and nullability",
		why:   "Temporal writes and reads every column; a shorter or other type loses data or fails.",
		fix:   "If the schema version is old, run `temporal-vitess-tool update-schema`. Else alter the column: through vtgate on every Vitess shard, after USE `keyspace:vitess-shard` on one.",
		run:   checkColumns,
	},
	{
		name:  "keys",
		title: "keys and indexes are there",
		why:   "Without a primary or unique key, conditional writes succeed twice; without an index, a query reads the whole Vitess shard.",
		fix:   "Create it: `temporal-vitess-tool setup-schema --emit DIR` writes the statements of the whole schema. One through vtgate goes to every Vitess shard; where only one lacks the key, send it there (USE `keyspace:vitess-shard`).",
		run:   checkKeys,
	},
	{
		name:  "unique-keys",
		title: "no unique key and no AUTO_INCREMENT spans Vitess shards",
		why:   "MySQL holds a key unique on one Vitess shard only, and counts AUTO_INCREMENT there only: without the sharding column in it, the same value arises on several, and merging them fails.",
		fix:   "Run `temporal-vitess-tool update-schema`, which replaces the keys that upstream's schema gives buffered_events. Drop others.",
		run:   checkUniqueKeys,
	},
	{
		name:  "collation",
		title: "text compares as Temporal expects",
		why:   "Text of another collation is equal when it should not be, or cannot be joined; other character sets than utf8mb4 cannot hold every name.",
		fix:   "ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci.",
		run:   checkCollation,
	},
	{
		name:  "schema-version",
		title: "the schema is of the server's version",
		why:   "A Temporal server refuses to start on an older schema.",
		fix:   "Run `temporal-vitess-tool update-schema`.",
		run:   checkSchemaVersion,
	},
	{
		name:   "vschema",
		title:  "the VSchema has every table with its vindex",
		why:    "vtgate goes by the VSchema: without a table in it statements fail, with another sharding column they ask every Vitess shard, with two functions on one column transactions span Vitess shards, and a sequence makes each insert ask another keyspace.",
		fix:    "Look at `temporal-vitess-tool vschema diff`, then `vschema apply`. Where rows exist already, another sharding column or vindex function takes a move of the rows (vtctldclient MoveTables).",
		vitess: true,
		run:    checkVSchema,
	},
	{
		name:   "statements",
		title:  "vtgate plans every statement for one Vitess shard",
		why:    "A statement to every Vitess shard costs as much as all of them together, fails when one is down, and is refused under --no-scatter.",
		fix:    "See vschema first. `temporal-vitess-tool routing-plan` tells why a statement goes where it goes.",
		vitess: true,
		run:    checkStatements,
	},
	{
		name:   "transaction-mode",
		title:  "a transaction can be kept on one Vitess shard",
		why:    "A commit over several Vitess shards is not atomic; SINGLE makes vtgate refuse it.",
		fix:    "Let sessions set transaction_mode (a proxy between may swallow it), or start vtgate with --transaction-mode=SINGLE.",
		vitess: true,
		run:    checkTransactionMode,
	},
	{
		name:  "isolation",
		title: "transactions run under READ COMMITTED",
		why:   "Under REPEATABLE READ, concurrent inserts lock gaps and deadlock. Where it is mysqld's own, each new connection has it changed by way of one Vitess shard, and does without while that is down.",
		fix:   "Set transaction_isolation=READ-COMMITTED in each mysqld (a file in EXTRA_MY_CNF, or mysqld.configOverrides of vitess-operator); without that, vtgate needs --enable-system-settings (its default).",
		run:   checkIsolation,
	},
	{
		name:  "sql-mode",
		title: "mysqld's sql_mode lets statements mean what they say",
		why:   "sql_mode changes how mysqld reads strings and NOT, returns CHAR columns and takes values that do not fit. Neither Temporal nor Vitess asks for one.",
		fix:   "Take MySQL's default, or sql_mode=STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION, in each mysqld, and leave sql_mode out of the connectAttributes.",
		run:   checkSQLMode,
	},
	{
		name:   "found-rows",
		title:  "an UPDATE counts the rows that it finds",
		why:    "Temporal takes an UPDATE that changed nothing for a lost lock otherwise.",
		fix:    "Connect to vtgate itself: a proxy between does not pass on the client's flag CLIENT_FOUND_ROWS.",
		vitess: true,
		run:    checkFoundRows,
	},
	{
		name:  "multi-statements",
		title: "several statements travel in one packet",
		why:   "The plugin pipelines transactions with it; without, each statement is a round trip of its own.",
		fix:   "Connect to vtgate itself: it takes them, a proxy between may not.",
		run:   checkMultiStatements,
	},
	{
		name:  "packet-size",
		title: "large statements reach MySQL",
		why:   "Temporal writes up to 4 MiB of history in one statement, twice as much when escaped; a workflow with such an event is stuck otherwise.",
		fix:   "Raise max_allowed_packet of each mysqld, vtgate's --max-payload-size, and --grpc-max-message-size of vtgate and vttablets, to 16 MiB or more.",
		run:   checkPacketSize,
	},
	{
		name:   "row-limit",
		title:  "a statement may return the plugin's number of rows",
		why:    "vttablet aborts a statement that returns or deletes more rows than its limit; the plugin divides its statements at vitess_max_rows.",
		fix:    "Raise the vttablets' --queryserver-config-max-result-size, or lower the connect attribute vitess_max_rows.",
		vitess: true,
		run:    checkRowLimit,
	},
	{
		name:   "transaction-timeout",
		title:  "locks of a lost vtgate are soon released",
		why:    "Transactions of a vtgate that died keep their row locks until vttablet ends them, which the plugin's sessions ask for after 10 s; so long their history shards stand still.",
		fix:    "Leave out the connect attribute transaction_timeout of both stores, or start the vttablets with --queryserver-config-transaction-timeout=10s.",
		vitess: true,
		run:    checkTransactionTimeout,
	},
	{
		name:  "pools",
		title: "vttablet's pools are as large as Temporal's",
		why:   "A connection of Temporal's that finds vttablet's pool full waits, and its transaction fails.",
		fix:   "Raise what is named, or lower maxConns in Temporal's configuration. Tell this check with --max-conns, --visibility-max-conns and --services what Temporal has.",
		run:   checkPools,
	},
	{
		name:   "buffering",
		title:  "vtgate buffers during a failover",
		why:    "A buffering vtgate hides a planned reparent and a killed mysqld from Temporal, but for what is in flight. What it holds longer than Temporal's callers wait only keeps connections from others.",
		fix:    "Start vtgate with --enable-buffer --buffer-window=8s --buffer-max-failover-duration=10s, and a --buffer-size that is not below the number of Temporal's connections.",
		vitess: true,
		run:    checkBuffering,
	},
	{
		name:   "replicas",
		title:  "each Vitess shard has replicas",
		why:    "Without a replica, the loss of one mysqld is the loss of its history shards.",
		fix:    "Add tablets, or say with --replicas how many you want.",
		vitess: true,
		run:    checkReplicas,
	},
	{
		name:   "durability",
		title:  "the durability policy suits the tablets",
		why:    "Without semi-synchronous replication a failover loses commits; with it, a Vitess shard of fewer than three tablets stops writing when one is lost.",
		fix:    "vtctldclient SetKeyspaceDurabilityPolicy --durability-policy=semi_sync, with three tablets or more for each Vitess shard.",
		vitess: true,
		run:    checkDurability,
	},
	{
		name:  "history-shards",
		title: "there are more history shards than Vitess shards",
		why:   "A history shard is on one Vitess shard, and their number cannot be changed later: with few, further Vitess shards bring nothing.",
		fix:   "Choose numHistoryShards as a power of two, at least 4 times the number of Vitess shards that you may ever want, before Temporal's first start.",
		run:   checkHistoryShards,
	},
	{
		name:   "balance",
		title:  "history shards spread evenly over the Vitess shards",
		why:    "The fullest Vitess shard needs a machine that much larger, or is full that much earlier.",
		fix:    "`temporal-vitess-tool balance` recommends. With data in place, another vindex function takes a move of the rows (vtctldclient MoveTables).",
		vitess: true,
		run:    checkBalance,
	},
	{
		name:  "task-rows",
		title: "tasks are where the plugin looks for them",
		why:   "Upstream's plugin stores the tasks of subqueues (priority, fairness) under another range_hash; this one finds them there only where its vitess_subqueue_tasks says so.",
		fix:   "Run `temporal-vitess-tool rehash-task-queues`.",
		run:   checkTaskRows,
	},
	{
		name:  "clock",
		title: "clocks agree",
		why:   "Times in logs, in schema_version and in the cluster's membership come from several machines.",
		fix:   "Synchronise the clocks of the machines with NTP.",
		run:   checkClock,
	},
	{
		name:  "time-zone",
		title: "sessions are in UTC",
		why:   "cluster_membership has TIMESTAMP columns: in a time zone with summer time, MySQL refuses or doubles an hour each year.",
		fix:   "Set default-time-zone='+00:00' in each mysqld, and no time_zone among the connectAttributes.",
		run:   checkTimeZone,
	},
}
