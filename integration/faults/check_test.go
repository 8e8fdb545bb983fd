package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
)

func TestAnAccountIsComparedWithTheResult(t *testing.T) {
	for name, test := range map[string]struct {
		change                 func(*account)
		lost, doubled, wrongly int
	}{
		"all is right":                             {change: func(*account) {}},
		"an acknowledged message had no effect":    {change: func(a *account) { delete(a.result.Effects, "acknowledged") }, lost: 1},
		"an acknowledged message had two effects":  {change: func(a *account) { a.result.Effects["acknowledged"] = 2 }, doubled: 1},
		"a message that failed had an effect":      {change: func(a *account) { a.result.Effects["failed"] = 1 }},
		"a message that failed had two effects":    {change: func(a *account) { a.result.Effects["failed"] = 2 }, doubled: 1},
		"a message that nobody sent had an effect": {change: func(a *account) { a.result.Effects["nobody's"] = 1 }, wrongly: 1},
		"a step gave another result":               {change: func(a *account) { a.result.Sum++ }, wrongly: 1},
		"a payload changed on its way":             {change: func(a *account) { a.result.Payload[1]++ }, wrongly: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := &account{
				id: "ledger-3", number: 3, size: 5, told: map[string]bool{"acknowledged": true, "failed": false},
				result: &ledger{Number: 3, Sum: wantSum(3, 5), Payload: payload(5), Effects: map[string]int{"acknowledged": 1}},
			}
			test.change(a)
			r := &Result{}
			a.check(r)
			assert.Equal(t, []int{test.lost, test.doubled, test.wrongly}, []int{len(r.Lost), len(r.Doubled), len(r.Wrong)}, r)
			assert.Equal(t, test.lost+test.doubled+test.wrongly > 0, r.Err() != nil)
		})
	}
}

func TestRangeIDsThatGoBackAreNotLinearizable(t *testing.T) {
	read := func(rangeID int64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{}, Output: registerOutput{rangeID: rangeID}}
	}
	write := func(previous int64, output registerOutput) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{write: true, previous: previous, next: previous + 1}, Output: output}
	}
	done, refused, unknown := registerOutput{}, registerOutput{refused: true}, registerOutput{unknown: true}
	undone := registerOutput{undone: true}
	for name, test := range map[string]struct {
		operations []porcupine.Operation
		want       bool
	}{
		"one after the other":                           {[]porcupine.Operation{read(1), write(1, done), read(2), write(2, done), read(3)}, true},
		"a write that is gone":                          {[]porcupine.Operation{write(1, done), write(2, done), read(2)}, false},
		"two writes on the same range ID":               {[]porcupine.Operation{write(1, done), write(1, done)}, false},
		"a write that is refused on the same range ID":  {[]porcupine.Operation{write(1, refused)}, false},
		"a write that is refused on an older one":       {[]porcupine.Operation{write(1, done), write(1, refused), read(2)}, true},
		"a write that was not applied":                  {[]porcupine.Operation{write(1, undone), read(1)}, true},
		"a write that is said not to have been applied": {[]porcupine.Operation{write(1, undone), read(2)}, false},
		"a write that nobody knows of took place":       {[]porcupine.Operation{write(1, unknown), read(2)}, true},
		"a write that nobody knows of took none":        {[]porcupine.Operation{write(1, unknown), read(1)}, true},
		"a write that nobody knows of, and then undone": {[]porcupine.Operation{write(1, unknown), read(2), read(1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.operations {
				test.operations[i].Call, test.operations[i].Return = int64(2*i), int64(2*i+1)
			}
			assert.Equal(t, test.want, porcupine.CheckOperations(register, test.operations))
		})
	}
}

func TestTheLongestGapIsTheLongestTimeWithoutAnAcknowledgedCall(t *testing.T) {
	began := time.Now()
	at := func(second float64, historyShard int32, err error) call {
		return call{historyShard: historyShard, ended: began.Add(time.Duration(second * float64(time.Second))), err: err}
	}
	calls := []call{at(-5, 1, nil), at(1, 1, nil), at(2, 2, nil), at(2.5, 1, fmt.Errorf("failed")), at(7, 2, nil), at(4, 1, nil)}
	odd := func(historyShard int32) bool { return historyShard%2 == 1 }
	assert.Equal(t, 3*time.Second, longestGap(calls, began, odd))
	assert.Equal(t, 5*time.Second, longestGap(calls, began, func(historyShard int32) bool { return !odd(historyShard) }))
}

func TestTotalsHaveTheSumsAndTheLongestTimes(t *testing.T) {
	totals := Totals([]*Result{
		{Fault: "one", Workflows: 1, Calls: 10, Lost: []string{"a"}, Hurt: Tally{All: 5, Failed: 2}, Plugin: 3 * time.Second},
		{Fault: "another", Calls: 7},
		{Fault: "one", Workflows: 2, Calls: 20, Lost: []string{"b"}, Defects: []string{"c"}, Hurt: Tally{All: 6, Failed: 1}, Updates: Tally{All: 4, Failed: 1}, Plugin: time.Second, Temporal: 2 * time.Second},
	})
	lines := strings.Split(strings.TrimSpace(totals), "\n")
	require.Len(t, lines, 3)
	assert.Equal(t, strings.Fields("another 1 0 7 0 0 0 0 – – – 0.0 s 0.0 s 0.0 s"), strings.Fields(lines[1]))
	assert.Equal(t, strings.Fields("one 2 3 30 2 0 1 0 3 of 11 – 1 of 4 0.0 s 3.0 s 2.0 s"), strings.Fields(lines[2]))
}

// plant is a fault that changes rows below Temporal and Vitess, so that each check finds something.
var plant = Fault{Name: "rows changed below Vitess", Break: func(ctx context.Context, b *Bed, l *Load) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, statement := range []string{
		// A history ends too early.
		`UPDATE executions SET next_event_id = next_event_id + 1
			WHERE namespace_id = ? AND workflow_id LIKE 'ledger-%' AND run_id IN (SELECT run_id FROM current_executions WHERE status = 2)`,
		// A run is over otherwise.
		`UPDATE current_executions SET status = 4 WHERE namespace_id = ? AND workflow_id LIKE 'ledger-%-child' AND status = 2`,
	} {
		if err := again(ctx, func() error { return plantWhereOver(ctx, b, statement, l.namespaceID) }); err != nil {
			return err
		}
	}
	return plantRows(ctx, b, l)
}}

// plantWhereOver changes the rows of runs of a namespace that are over, on all Vitess shards.
func plantWhereOver(ctx context.Context, b *Bed, statement, namespaceID string) error {
	id := uuid.MustParse(namespaceID)
	planted := int64(0)
	for _, shard := range b.Shards(keyspace) {
		err := b.onPrimary(ctx, keyspace, shard, func(db *sql.DB) error {
			done, err := db.ExecContext(ctx, statement, id[:])
			if err != nil {
				return err
			}
			rows, err := done.RowsAffected()
			planted += rows
			return err
		})
		if err != nil {
			return final{err}
		}
	}
	if planted == 0 {
		return errors.New("no workflow of the load is over yet")
	}
	return nil
}

var plantRows = withPrimary(func(ctx context.Context, b *Bed, primary *fullcluster.Tablet) error {
	return onMySQL(ctx, primary, func(mysqld *sql.Conn) error {
		for _, statement := range []string{
			// Of a run that does not exist.
			`INSERT INTO timer_info_maps (shard_id, namespace_id, workflow_id, run_id, timer_id, data) VALUES (4, REPEAT('n', 16), 'nobody', REPEAT('r', 16), '1', '')`,
			`INSERT INTO history_node (shard_id, tree_id, branch_id, node_id, txn_id, data, data_encoding) VALUES (4, REPEAT('t', 16), REPEAT('b', 16), 1, 1, '', '')`,
			// Of another Vitess shard.
			`INSERT INTO shards (shard_id, range_id, data, data_encoding) VALUES (4097, 1, '', '')`,
			// A register goes back.
			fmt.Sprintf(`UPDATE shards SET range_id = 1 WHERE shard_id = %d`, firstRegister),
		} {
			if _, err := mysqld.ExecContext(ctx, "USE vt_"+keyspace); err != nil {
				return err
			}
			if _, err := mysqld.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	})
})

// requirePlantFound requires that the checks have found each of the planted rows.
func requirePlantFound(t *testing.T, r *Result, vitessShard string) {
	t.Helper()
	for _, want := range []string{
		"timer_info_maps on " + vitessShard + ": a row of nobody/",
		"history_node on " + vitessShard + ": node 1 of branch 6262",
		"shards on " + vitessShard + `: rows of shard_id "4097", which are of 80-c0`,
		"current_executions: ledger-",
	} {
		requireOneContains(t, r.Strays, want)
	}
	for _, want := range []string{"range ID of history shard 1024 are not linearizable", "the history of ledger-"} {
		requireOneContains(t, r.Wrong, want)
	}
}

func requireOneContains(t *testing.T, texts []string, part string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, part) {
			return
		}
	}
	require.Fail(t, "none of the texts has "+part, "%v", texts)
}
