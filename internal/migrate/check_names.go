package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"vitess.io/vitess/go/vt/sqlparser"
)

var oldNames = Check{
	Name:   "old-names",
	Title:  "nobody uses the source's names",
	Why:    "Servers that name the source, or no keyspace, are not this plugin with the final names: on sharded tables upstream's plugin loses tasks, and once the migration is complete, the names lead nowhere.",
	Fix:    "Give all servers the plugin with the final names, before the switch. Tell this check all vtgates' status pages (--vtgate-http).",
	Before: []Command{Switch, Complete},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		return i.watchNames(ctx, seen, func(keyspace string) bool {
			_, targets := i.keyspaces()
			return !slices.Contains(targets, keyspace)
		})
	},
}

var finalNames = Check{
	Name:   "final-names",
	Title:  "nobody uses the final names",
	Why:    "Once the routing rules are gone, the final names lead to the keyspaces themselves, which are empty.",
	Fix:    "Give all servers the source's names first; or --keep-routing-rules, by which the final names go on leading to the source. Tell this check all vtgates' status pages (--vtgate-http).",
	Before: []Command{Cancel},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		if i.KeepRules {
			return nil
		}
		return i.watchNames(ctx, seen, func(keyspace string) bool {
			_, targets := i.keyspaces()
			return slices.Contains(targets, keyspace)
		})
	},
}

// plan is one of vtgate's cache.
type plan struct {
	Original  string
	ExecCount uint64
}

// watchNames looks in the vtgates' plans whether statements are executed meanwhile that name tables of the moves in a keyspace that
// is meant, "" for none.
func (i *inspection) watchNames(ctx context.Context, seen *seen, meant func(keyspace string) bool) error {
	if len(i.VTGateHTTP) == 0 {
		seen.problem("only the vtgates' status pages tell: give --vtgate-http")
		return nil
	}
	moved := map[string]bool{}
	for _, state := range i.states {
		for _, table := range state.Tables {
			moved[table] = true
		}
	}
	before := map[string]map[string]uint64{}
	for end := time.Now().Add(i.Watch); ; {
		used := map[string]bool{}
		for _, vtgate := range i.VTGateHTTP {
			plans, err := readPlans(ctx, vtgate)
			if err != nil {
				return err
			}
			now := map[string]uint64{}
			for key, plan := range plans {
				now[key] = plan.ExecCount
				if first, known := before[vtgate]; !known || plan.ExecCount <= first[key] {
					continue
				}
				if keyspace, names := namesTable(plan.Original, moved, meant); names {
					used[fmt.Sprintf("vtgate %s: a statement of keyspace %q: %.120s", vtgate, keyspace, plan.Original)] = true
				}
			}
			before[vtgate] = now // a vtgate that drops its plans counts anew
		}
		if len(used) > 0 {
			const shown = 5
			all := slices.Sorted(maps.Keys(used))
			for _, text := range all[:min(shown, len(all))] {
				seen.problem("%s", text)
			}
			return nil
		}
		if time.Now().After(end) {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// namesTable reports whether a statement names a table that has moved, in a keyspace that is meant.
func namesTable(statement string, moved map[string]bool, meant func(keyspace string) bool) (keyspace string, names bool) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return "", false
	}
	parsed, err := parser.Parse(statement)
	if err != nil {
		return "", false
	}
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		if table, ok := node.(sqlparser.TableName); ok && moved[table.Name.String()] && meant(table.Qualifier.String()) {
			keyspace, names = table.Qualifier.String(), true
		}
		return true, nil
	}, parsed)
	return keyspace, names
}

// httpTimeout is for a page that firewalls hide.
const httpTimeout = 5 * time.Second

func readPlans(ctx context.Context, address string) (map[string]plan, error) {
	var plans map[string]plan
	err := readPage(ctx, address, "/debug/query_plans", &plans)
	return plans, err
}

// readPage reads a page of a vtgate's status pages.
func readPage(ctx context.Context, address, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	url := "http://" + address + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("--vtgate-http: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("--vtgate-http: %s: %s", url, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("--vtgate-http: %s: %w", url, err)
	}
	return nil
}
