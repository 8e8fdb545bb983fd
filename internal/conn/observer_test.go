package conn

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics/metricstest"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// tagged returns the recordings of a metric as the values of these tags.
func tagged(capture *metricstest.Capture, name string, tags ...string) []string {
	var all []string
	for _, recording := range capture.Snapshot()[name] {
		text := ""
		for _, tag := range tags {
			text += recording.Tags[tag] + " "
		}
		all = append(all, text[:len(text)-1])
	}
	return all
}

func TestErrorsAndRetriesAreCountedByVitessShard(t *testing.T) {
	met := &mysql.MySQLError{Number: 1105, Message: "target: temporal.80-.primary: no healthy tablet available for 'temporal.80-.primary'"}
	server := &packetServer{answer: failingOnce("select shards", met)}
	db, capture := openPipelined(t, server, log.NewNoopLogger())
	require.NoError(t, db.QueryRow(selectShard, 1).Scan(new(int)))
	require.Equal(t, []string{"not_executed temporal 80-"}, tagged(capture, "vitess_retries", "class", "keyspace", "vitess_shard"))
	require.Len(t, capture.Snapshot()["vitess_retry_wait"], 1)

	met.Message = "target: temporal.80-.primary: transaction pool connection limit exceeded"
	server.answer = failing("select shards", met)
	require.Error(t, db.QueryRow(selectShard, 1).Scan(new(int)))
	server.answer = failing("insert history_node", errDuplicate)
	_, err := db.Exec(upsertNode, 1, 2, "x")
	require.Error(t, err)
	require.Equal(t, []string{"overloaded temporal 80-", "refused  "}, tagged(capture, "vitess_errors", "class", "keyspace", "vitess_shard"))
}

// A place that a text names could be a value of somebody's.
func TestThePlacesThatMetricsNameAreBounded(t *testing.T) {
	handler := metricstest.NewCaptureHandler()
	capture := handler.StartCapture()
	o := newObserver(log.NewNoopLogger(), handler)
	of := func(text string) *outcome.Error {
		met := &outcome.Error{}
		require.ErrorAs(t, outcome.Of(&mysql.MySQLError{Number: 1105, Message: text}, outcome.Repeatable), &met)
		return met
	}
	packet := &packet{group: "temporal"}
	for i := range maxNamed + 10 {
		met := of(fmt.Sprintf("target: temporal.%x-.primary: code = Unavailable", i))
		o.count(met.Class, o.place(met, packet))
	}
	places := map[string]bool{}
	for _, place := range tagged(capture, "vitess_errors", "keyspace", "vitess_shard") {
		places[place] = true
	}
	require.Len(t, places, maxNamed+1)
	require.Contains(t, places, "temporal ")

	known := of("target: temporal.0-.primary: code = Unavailable")
	require.Equal(t, "temporal/0-", o.place(known, packet), "one that was named before")
	packet.group = "temporal/-80"
	require.Equal(t, "temporal/-80", o.place(known, packet), "what the router knows needs no text")
}

func TestPacketsAreTimedByTheirCause(t *testing.T) {
	server := &packetServer{}
	db, capture := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	p := pipelined{t, tx}
	p.query(selectShard, 1)
	p.exec(upsertTimer, 1, "a")
	require.NoError(t, tx.Commit())
	require.NoError(t, db.QueryRow(selectShard, 1).Scan(new(int)))
	require.Equal(t, []string{causeRead, causeCommit, causeAlone}, tagged(capture, "vitess_packet_latency", "cause"))
	require.Len(t, capture.Snapshot()["vitess_connections_opened"], 1)
}

func TestAmbiguousOutcomesAreCountedByOperation(t *testing.T) {
	handler := metricstest.NewCaptureHandler()
	capture := handler.StartCapture()
	o := newObserver(log.NewNoopLogger(), handler)
	insert := &router.Plan{Table: "history_node", Workload: router.History, Statement: router.Statement{SQL: "insert into history_node"}}
	for _, test := range []struct {
		class outcome.Class
		p     *packet
	}{
		{outcome.Ambiguous, &packet{holds: outcome.Committing, workload: router.Matching, last: commit}},
		{outcome.Ambiguous, &packet{holds: outcome.Autocommit, workload: router.History, last: insert}},
		{outcome.Unknown, &packet{holds: outcome.Autocommit, last: router.Pass("DROP TABLE mine")}},
		{outcome.Unknown, &packet{holds: outcome.Uncommitted, last: insert}},
		{outcome.NotExecuted, &packet{holds: outcome.Autocommit, last: insert}},
	} {
		_ = o.failed(&outcome.Error{Class: test.class, Holds: test.p.holds, Cause: errors.New("met")}, test.p)
	}
	require.Equal(t, []string{"commit matching", "insert history_node history", "other "}, tagged(capture, "vitess_ambiguous", "operation", "workload"))

	server := &packetServer{answer: failing("commit", errLost)}
	db, captured := openPipelined(t, server, log.NewNoopLogger())
	tx, err := db.Begin()
	require.NoError(t, err)
	pipelined{t, tx}.exec(upsertTimer, 1, "a")
	require.Equal(t, outcome.Ambiguous, outcome.ClassOf(tx.Commit()))
	require.Equal(t, []string{"commit history"}, tagged(captured, "vitess_ambiguous", "operation", "workload"))
}
