package server

import (
	"maps"
	"sync"

	"go.temporal.io/server/common/metrics"
)

// counted are the plugin's counters that a server keeps, each with the tag that tells its counts apart.
var counted = map[string]string{"vitess_statements": "route", "vitess_errors": "class"}

// counters is a metrics.Handler that keeps these counters, and nothing else.
type counters struct {
	metrics.Handler
	tags   map[string]string
	counts *counts
}

type counts struct {
	mutex sync.Mutex
	by    map[string]map[string]int64 // counter, value of its tag
}

func newCounters() *counters {
	by := map[string]map[string]int64{}
	for name := range counted {
		by[name] = map[string]int64{}
	}
	return &counters{Handler: metrics.NoopMetricsHandler, counts: &counts{by: by}}
}

// WithTags implements metrics.Handler.
func (c *counters) WithTags(tags ...metrics.Tag) metrics.Handler {
	tagged := *c
	tagged.tags = maps.Clone(c.tags)
	for _, tag := range tags {
		for _, key := range counted {
			if tag.Key != key {
				continue
			}
			if tagged.tags == nil {
				tagged.tags = map[string]string{}
			}
			tagged.tags[key] = tag.Value
		}
	}
	return &tagged
}

// Counter implements metrics.Handler.
func (c *counters) Counter(name string) metrics.CounterIface {
	key, ok := counted[name]
	if !ok {
		return c.Handler.Counter(name)
	}
	return metrics.CounterFunc(func(delta int64, _ ...metrics.Tag) {
		c.counts.mutex.Lock()
		defer c.counts.mutex.Unlock()
		c.counts.by[name][c.tags[key]] += delta
	})
}

func (c *counters) of(name string) map[string]int64 {
	c.counts.mutex.Lock()
	defer c.counts.mutex.Unlock()
	return maps.Clone(c.counts.by[name])
}
