// Package observability has the dashboard and the alerts for tests to read.
package observability

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Dashboard is dashboard.json.
//
//go:embed dashboard.json
var Dashboard []byte

// rules is alerts.yaml.
//
//go:embed alerts.yaml
var rules []byte

// PromQL parses queries.
var PromQL = parser.NewParser(parser.Options{})

// Panel is what a test looks at of a panel of the dashboard. Of a row it has no targets.
type Panel struct {
	Title, Type, Description string
	Targets                  []struct{ Expr string }
}

// Panels returns those of the dashboard.
func Panels() ([]Panel, error) {
	var board struct{ Panels []Panel }
	err := json.Unmarshal(Dashboard, &board)
	return board.Panels, err
}

// Alerts returns the alert rules by their names.
func Alerts() (map[string]rulefmt.Rule, error) {
	groups, errs := rulefmt.Parse(rules, false, model.UTF8Validation, PromQL)
	if len(errs) > 0 {
		return nil, fmt.Errorf("alerts.yaml: %v", errs)
	}
	all := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if _, ok := all[rule.Alert]; ok {
				return nil, fmt.Errorf("alerts.yaml: %s is there twice", rule.Alert)
			}
			all[rule.Alert] = rule
		}
	}
	return all, nil
}

// Metrics returns the names of metrics in a query; of those that it matches by a pattern the pattern.
func Metrics(query string) ([]string, error) {
	expr, err := PromQL.ParseExpr(strings.ReplaceAll(query, "$__rate_interval", "5m"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	var all []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name == model.MetricNameLabel {
					all = append(all, matcher.Value)
				}
			}
		}
		return nil
	})
	return all, nil
}

// MetricsInUse returns those of all panels and alerts, each once.
func MetricsInUse() ([]string, error) {
	panels, err := Panels()
	if err != nil {
		return nil, err
	}
	alerts, err := Alerts()
	if err != nil {
		return nil, err
	}
	var queries []string
	for _, panel := range panels {
		for _, target := range panel.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, alert := range alerts {
		queries = append(queries, alert.Expr)
	}
	all := map[string]bool{}
	for _, query := range queries {
		names, err := Metrics(query)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}
