// Package routing shows, without a database, where every SQL statement of a Temporal server goes in Vitess.
//
// The tests call every method of upstream's sqlplugin.DB, Tx and AdminDB, and the visibility store's queries, on
// upstream's mysql8 plugin and on this project's, each over a driver that records statements instead of sending them.
// What was recorded is then planned and executed by vtgate's own executor in process, over the embedded VSchema with
// 2, 16 and 256 Vitess shards, as a vtgate with --no-scatter and transaction_mode=SINGLE would.
//
// testdata/statements.golden lists the result and is worth reading: for each statement, where stock Temporal sends it
// and where the plugin does. After a change of Temporal, Vitess or the plugin:
//
//	go test ./integration/routing -update && git diff integration/routing/testdata
package routing
