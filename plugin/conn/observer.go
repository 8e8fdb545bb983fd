package conn

import (
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// unknownPerSecond bounds the log lines about statements without a route; the counter has all of them.
const unknownPerSecond = 1

// observer counts statements and reports those that the router does not know.
type observer struct {
	logger log.Logger
	// statements by workload and route.
	statements map[router.Workload]map[router.Route]metrics.CounterIface
}

func newObserver(logger log.Logger, handler metrics.Handler) *observer {
	o := &observer{
		logger:     log.NewThrottledLogger(logger, func() float64 { return unknownPerSecond }),
		statements: map[router.Workload]map[router.Route]metrics.CounterIface{},
	}
	for _, workload := range []router.Workload{router.History, router.Matching, router.Metadata, router.Visibility, ""} {
		o.statements[workload] = map[router.Route]metrics.CounterIface{}
		for _, route := range []router.Route{router.Passed, router.Unsharded, router.Single, router.Scatter, router.Unknown} {
			o.statements[workload][route] = handler.WithTags(
				metrics.StringTag("workload", string(workload)),
				metrics.StringTag("route", route.String()),
			).Counter("vitess_statements")
		}
	}
	return o
}

func (o *observer) planned(plan *router.Plan, query string) {
	o.statements[plan.Workload][plan.Route].Record(1)
	if plan.Route == router.Unknown {
		o.logger.Error("A statement cannot be routed to one Vitess shard; it is sent as it is unless vitess_unknown_statements is reject",
			tag.Error(plan.Unknown), tag.String("statement", query))
	}
}
