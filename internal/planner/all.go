package planner

import (
	"context"
	"fmt"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
)

// Planned is one of a server's statements with its route.
type Planned struct {
	// Call is the method or query that sends the statement, the first of several.
	Call      string `json:"call,omitempty"`
	Statement string `json:"statement"`
	Route     *Route `json:"route"`
	// MayScatter reports whether the plugin has marked the statement as one that asks every Vitess shard.
	MayScatter bool `json:"may_scatter,omitempty"`
}

// Faulty reports whether the statement is refused, or goes to several Vitess shards without being meant to.
func (p Planned) Faulty() bool { return p.Route.Refused || (!p.Route.Single() && !p.MayScatter) }

// All returns the route of each statement that the calls sent, every text once; see [inventory.Of].
func (p *Planner) All(ctx context.Context, calls []inventory.Call) ([]Planned, error) {
	var all []Planned
	seen := make(map[string]bool)
	for _, call := range calls {
		for _, statement := range call.Statements {
			if seen[statement.SQL] {
				continue
			}
			seen[statement.SQL] = true
			route, err := p.Route(ctx, statement.SQL, statement.Args)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", call.Name, err)
			}
			all = append(all, Planned{
				Call:       call.Name,
				Statement:  statement.SQL,
				Route:      route,
				MayScatter: strings.Contains(statement.SQL, "ALLOW_SCATTER"),
			})
		}
	}
	return all, nil
}
