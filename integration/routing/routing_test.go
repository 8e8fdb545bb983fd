package routing

import (
	"database/sql/driver"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

var update = flag.Bool("update", false, "write testdata/statements.golden")

// vitessShards are the numbers of Vitess shards per sharded keyspace to plan with, in ascending order.
var vitessShards = []int{2, 16, 256}

// scatterAllowed are the calls of the plugin, by the start of their names, that may ask every Vitess shard, by VSchema
// profile. Upstream makes none of them in a transaction.
var scatterAllowed = map[vschema.Profile][]string{
	vschema.ProfileNamespace: {
		"SelectFromTaskQueues", // the task queue scavenger reads ranges of range_hash
	},
	vschema.ProfileSpread: { // a namespace is on every Vitess shard
		"SelectFromVisibility", "List", "Count",
	},
}

// outsideTransactions are the calls that upstream never makes in a transaction although sqlplugin.Tx has them.
var outsideTransactions = []string{
	"SelectFromTaskQueues",
	"PaginateBranchesFromHistoryTree", // the history scavenger's, which the plugin asks history shard by history shard
	"SelectFromVisibility",
}

func TestRouting(t *testing.T) {
	stock := newStockSubject(t)
	stockCalls, _ := stock.driveAll(t)

	t.Run("every statement in upstream's source is driven", func(t *testing.T) {
		checkComplete(t, stockCalls)
	})

	gold := &golden{}
	for _, profile := range vschema.Profiles() {
		vitess := newVitessSubject(t, profile)
		calls, moreQueries := vitess.driveAll(t)
		pages := furtherPages(t, vitess, profile, stockCalls)
		built := builtStatements(t, vitess, stockCalls)
		calls = append(append(calls, pages...), built...)
		if profile != vschema.ProfileNamespace { // the profile concerns the visibility store only
			calls = slices.DeleteFunc(calls, func(c call) bool { return c.Kind != sqlplugin.DbKindVisibility })
		}
		byID := make(map[string]call)
		for _, c := range calls {
			byID[c.ID] = c
		}
		vtgates := make([]*inProcessVTGate, len(vitessShards))
		for i, n := range vitessShards {
			vtgates[i] = newVTGate(t, profile, n)
			t.Run(fmt.Sprintf("profile %s, %d Vitess shards", profile, n), func(t *testing.T) {
				checkStatements(t, vtgates[i], scatterAllowed[profile], calls)
				checkTransactions(t, vtgates[i], calls)
				checkSamePlans(t, vtgates[0], vtgates[i], calls)
			})
		}
		t.Run(fmt.Sprintf("profile %s, every search attribute", profile), func(t *testing.T) {
			checkStatements(t, vtgates[0], scatterAllowed[profile], slices.Concat(calls, moreQueries))
		})

		largest := vtgates[len(vtgates)-1]
		for _, c := range stockCalls {
			if profile == vschema.ProfileNamespace || c.Kind == sqlplugin.DbKindVisibility {
				assert.Contains(t, byID, c.ID, "upstream's plugin sends something that this project's does not")
				gold.addCall(largest, profile, c, byID[c.ID])
			}
		}
		for _, c := range append(pages, built...) {
			if _, ok := byID[c.ID]; ok {
				gold.addCall(largest, profile, call{Name: c.Name, Kind: c.Kind}, c)
			}
		}
	}
	compareGolden(t, gold.String())
}

// TestSubqueuesShareVitessShard drives matching's calls for several subqueues of one task queue, whose tasks have to be
// where the row of subqueue 0 is, which guards them all.
func TestSubqueuesShareVitessShard(t *testing.T) {
	vitess := newVitessSubject(t, vschema.ProfileNamespace)
	vtgate := newVTGate(t, vschema.ProfileNamespace, vitessShards[len(vitessShards)-1])
	shards := make(map[string]bool)
	send := func(of reflect.Type, subqueue int) {
		for _, c := range vitess.drive(t, of, subqueue) {
			for _, s := range c.Statements {
				noQueue := slices.ContainsFunc(s.Args, func(arg driver.Value) bool { id, ok := arg.([]byte); return ok && len(id) == 0 })
				if !noQueue && !strings.Contains(directives(s.SQL), "ALLOW_SCATTER") {
					shards[strings.Join(vtgate.route(s).Shards, ", ")] = true
				}
			}
		}
	}
	send(reflect.TypeFor[sqlplugin.MatchingTaskQueue](), 0)
	for subqueue := range 5 {
		send(reflect.TypeFor[sqlplugin.MatchingTask](), subqueue)
		send(reflect.TypeFor[sqlplugin.MatchingTaskV2](), subqueue)
	}
	assert.Len(t, shards, 1)
}

// checkStatements fails for each statement that does not go to one Vitess shard or an unsharded keyspace, and for each
// exception that nobody needs.
func checkStatements(t *testing.T, v *inProcessVTGate, exceptions []string, calls []call) {
	t.Helper()
	seen := make(map[string]bool)
	used := make(map[string]bool)
	for _, c := range calls {
		for _, s := range c.Statements {
			if seen[s.SQL] || !s.ReadsOrWrites() {
				continue
			}
			seen[s.SQL] = true
			r := v.route(s)
			if !assert.Empty(t, r.Refused, "vtgate refuses a statement of %s: %s", c.Name, s.SQL) {
				continue
			}
			if len(r.Shards) == 1 {
				continue
			}
			exception := slices.IndexFunc(exceptions, func(start string) bool { return strings.HasPrefix(c.Name, start) })
			if exception < 0 {
				t.Errorf("a statement of %s goes to %d Vitess shards (%s): %s", c.Name, len(r.Shards), r.Plan, s.SQL)
				continue
			}
			used[exceptions[exception]] = true
			assert.Contains(t, directives(s.SQL), "ALLOW_SCATTER", "%s: %s", c.Name, s.SQL)
		}
	}
	for _, exception := range exceptions {
		assert.Contains(t, used, exception, "no statement needs this entry of scatterAllowed: remove it")
	}
}

// checkTransactions fails for each transaction that touches more than one Vitess shard.
func checkTransactions(t *testing.T, v *inProcessVTGate, calls []call) {
	t.Helper()
	for _, c := range calls {
		if slices.Contains(outsideTransactions, c.Name) {
			continue
		}
		touched := make(map[int][]string)
		for _, s := range c.Statements {
			if s.Transaction != 0 {
				touched[s.Transaction] = append(touched[s.Transaction], v.route(s).Shards...)
			}
		}
		for _, shards := range touched {
			slices.Sort(shards)
			if shards = slices.Compact(shards); len(shards) != 1 {
				t.Errorf("a transaction of %s touches %d Vitess shards: %v", c.ID, len(shards), shards[:min(len(shards), 4)])
			}
		}
	}
}

// checkSamePlans fails for each statement whose plan depends on the number of Vitess shards.
func checkSamePlans(t *testing.T, a, b *inProcessVTGate, calls []call) {
	t.Helper()
	for _, c := range calls {
		for _, s := range c.Statements {
			planA, planB := a.route(s), b.route(s)
			planA.Shards, planB.Shards = nil, nil
			assert.Equal(t, planA, planB, "%s: %s", c.Name, s.SQL)
		}
	}
}
