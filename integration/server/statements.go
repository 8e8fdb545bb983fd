package server

import (
	"maps"
	"sync"

	"go.temporal.io/server/common/metrics"
)

// statements is a metrics.Handler that keeps the plugin's counter of statements, by route, and nothing else.
type statements struct {
	metrics.Handler
	route  string
	counts *counts
}

type counts struct {
	mutex   sync.Mutex
	byRoute map[string]int64
}

func newStatements() *statements {
	return &statements{Handler: metrics.NoopMetricsHandler, counts: &counts{byRoute: map[string]int64{}}}
}

// WithTags implements metrics.Handler.
func (s *statements) WithTags(tags ...metrics.Tag) metrics.Handler {
	tagged := *s
	for _, tag := range tags {
		if tag.Key == "route" {
			tagged.route = tag.Value
		}
	}
	return &tagged
}

// Counter implements metrics.Handler.
func (s *statements) Counter(name string) metrics.CounterIface {
	if name != "vitess_statements" {
		return s.Handler.Counter(name)
	}
	return metrics.CounterFunc(func(delta int64, _ ...metrics.Tag) {
		s.counts.mutex.Lock()
		defer s.counts.mutex.Unlock()
		s.counts.byRoute[s.route] += delta
	})
}

func (s *statements) byRoute() map[string]int64 {
	s.counts.mutex.Lock()
	defer s.counts.mutex.Unlock()
	return maps.Clone(s.counts.byRoute)
}
