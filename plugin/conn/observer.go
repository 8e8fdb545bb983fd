package conn

import (
	"fmt"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// linesPerSecond bounds the log; the counters have everything.
const linesPerSecond = 1

// observer counts what connections do, and logs what an operator has to see.
type observer struct {
	logger log.Logger
	// handler serves what is rare; what happens with each statement has its counters below.
	handler    metrics.Handler
	statements map[statementKind]metrics.CounterIface
	packets    map[string]metrics.CounterIface
	// transactionStatements and transactionPackets are what a transaction took.
	transactionStatements, transactionPackets metrics.HistogramIface
}

type statementKind struct {
	workload router.Workload
	route    router.Route
}

func newObserver(logger log.Logger, handler metrics.Handler) *observer {
	o := &observer{
		logger:                log.NewThrottledLogger(logger, func() float64 { return linesPerSecond }),
		handler:               handler,
		statements:            map[statementKind]metrics.CounterIface{},
		packets:               map[string]metrics.CounterIface{},
		transactionStatements: handler.Histogram("vitess_transaction_statements", metrics.Dimensionless),
		transactionPackets:    handler.Histogram("vitess_transaction_round_trips", metrics.Dimensionless),
	}
	for _, workload := range []router.Workload{router.History, router.Matching, router.Metadata, router.Visibility, ""} {
		for _, route := range []router.Route{router.Passed, router.Unsharded, router.Single, router.Scatter, router.Unknown} {
			o.statements[statementKind{workload, route}] = handler.WithTags(
				metrics.StringTag("workload", string(workload)),
				metrics.StringTag("route", route.String()),
			).Counter("vitess_statements")
		}
	}
	for _, cause := range []string{causeRead, causeWrite, causeCount, causeSize, causeChunk, causeCommit, causeBatch} {
		o.packets[cause] = handler.WithTags(metrics.StringTag("cause", cause)).Counter("vitess_packets")
	}
	return o
}

// planned counts a statement.
func (o *observer) planned(plan *router.Plan, query string) {
	o.statements[statementKind{plan.Workload, plan.Route}].Record(1)
	if plan.Route == router.Unknown {
		o.logger.Error("A statement cannot be routed to one Vitess shard; it is sent as it is unless vitess_unknown_statements is reject",
			tag.Error(plan.Unknown), tag.String("statement", query))
	}
}

// sending counts a packet of a pipelined transaction or a Batch.
func (o *observer) sending(cause string) { o.packets[cause].Record(1) }

// transaction counts a pipelined transaction that ended.
func (o *observer) transaction(statements, packets int) {
	o.transactionStatements.Record(int64(statements))
	o.transactionPackets.Record(int64(packets))
}

// retrying counts a packet that is sent again.
func (o *observer) retrying(class Class) {
	o.handler.WithTags(metrics.StringTag("class", string(class))).Counter("vitess_retries").Record(1)
}

// failed counts an error.
func (o *observer) failed(class Class) {
	o.handler.WithTags(metrics.StringTag("class", string(class))).Counter("vitess_errors").Record(1)
}

// defect logs an error that should never be, with the routes of the packet that met it.
func (o *observer) defect(err error, plans []*router.Plan) {
	var routes []string
	for _, plan := range plans {
		if plan.Table == "" {
			continue
		}
		route := fmt.Sprintf("%s.%s %s", plan.Keyspace, plan.Table, plan.Route)
		if plan.Column != "" {
			route += " by " + plan.Column
		}
		routes = append(routes, route)
	}
	o.logger.Error("A statement or transaction broke the rules that keep it on one Vitess shard", tag.Error(err), tag.Strings("routes", routes))
}
