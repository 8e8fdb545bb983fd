package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
)

// checkMoves reads the routing rules, by which vtgate answers a table's name from another keyspace.
func checkMoves(ctx context.Context, e *examination, seen *observations) error {
	if e.vitess.VTCtld == nil {
		seen.skip("the topology holds the routing rules: give --vtctld")
		return nil
	}
	response, err := e.vitess.VTCtld.GetRoutingRules(ctx, &vtctldatapb.GetRoutingRulesRequest{})
	if err != nil {
		return fmt.Errorf("routing rules from vtctld: %w", err)
	}
	away, here := map[string]int{}, map[string]int{}
	for _, rule := range response.RoutingRules.GetRules() {
		if !strings.Contains(rule.FromTable, ".") || strings.Contains(rule.FromTable, "@") || len(rule.ToTables) == 0 { // not a keyspace's primaries
			continue
		}
		from, table, _ := strings.Cut(rule.FromTable, ".")
		to, _, _ := strings.Cut(rule.ToTables[0], ".")
		switch {
		case to == from:
		case e.holds(from, table):
			away[from+" are answered by "+to]++
		case e.holds(to, table):
			here[from+" are answered by "+to]++
		}
	}
	for _, text := range slices.Sorted(maps.Keys(away)) {
		seen.warn("%d tables of %s: a move is under way, and the traffic is not here yet", away[text], text)
	}
	for _, text := range slices.Sorted(maps.Keys(here)) {
		seen.warn("%d tables of %s: a move has brought the traffic here, and is not complete", here[text], text)
	}
	if len(away)+len(here) == 0 {
		seen.pass("no routing rule leads to or from these keyspaces")
	}
	return nil
}

// holds reports whether a keyspace is one of these, and the table has its place there.
func (e *examination) holds(keyspace, table string) bool {
	return slices.ContainsFunc(e.homes, func(h *home) bool {
		_, ours := h.placement.Tables[table]
		return h.name == keyspace && ours
	})
}
