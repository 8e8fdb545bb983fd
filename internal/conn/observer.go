package conn

import (
	"errors"
	"strings"
	"sync"
	"time"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/metrics"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/internal/session"
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
	latencies  map[string]metrics.TimerIface // by cause, as packets are
	waits      metrics.TimerIface
	opened     metrics.CounterIface
	// transactionStatements and transactionPackets are what a transaction took.
	transactionStatements, transactionPackets metrics.HistogramIface

	// named are the places that texts of errors named, to bound them.
	mutex sync.Mutex
	named map[string]bool
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
		latencies:             map[string]metrics.TimerIface{},
		waits:                 handler.Timer("vitess_retry_wait"),
		opened:                handler.Counter("vitess_connections_opened"),
		named:                 map[string]bool{},
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
	for _, cause := range []string{causeRead, causeWrite, causeCount, causeSize, causeChunk, causeCommit, causeSet} {
		o.packets[cause] = handler.WithTags(metrics.StringTag("cause", cause)).Counter("vitess_packets")
	}
	for _, cause := range []string{causeRead, causeWrite, causeCount, causeSize, causeChunk, causeCommit, causeSet, causeAlone} {
		o.latencies[cause] = handler.WithTags(metrics.StringTag("cause", cause)).Timer("vitess_packet_latency")
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

// sending counts a packet of a pipelined transaction or a ReadSet.
func (o *observer) sending(cause string) { o.packets[cause].Record(1) }

// answered tells how long the server took for a packet, until its answer or error began to come.
func (o *observer) answered(cause string, took time.Duration) { o.latencies[cause].Record(took) }

// waited tells how long a packet has waited before it is sent again.
func (o *observer) waited(pause time.Duration) { o.waits.Record(pause) }

// transaction counts a pipelined transaction that ended.
func (o *observer) transaction(statements, packets int) {
	o.transactionStatements.Record(int64(statements))
	o.transactionPackets.Record(int64(packets))
}

// retrying counts a packet that is sent again.
func (o *observer) retrying(met *outcome.Error, p *packet) {
	o.counter("vitess_retries", met.Class, o.place(met, p)).Record(1)
}

// count counts an error that was met at a place, see [outcome.Error].
func (o *observer) count(class outcome.Class, place string) {
	o.counter("vitess_errors", class, place).Record(1)
}

func (o *observer) counter(name string, class outcome.Class, place string) metrics.CounterIface {
	keyspace, vitessShard, _ := strings.Cut(place, "/")
	return o.handler.WithTags(
		metrics.StringTag("class", string(class)),
		metrics.StringTag("keyspace", keyspace),
		metrics.StringTag("vitess_shard", vitessShard),
	).Counter(name)
}

// maxNamed and maxNamedLength bound the places that metrics have from the texts of errors: values could stand in these.
const (
	maxNamed       = 1024
	maxNamedLength = 128
)

// place returns where an error was met, for metrics: its group, or what its text names where that says more.
func (o *observer) place(met *outcome.Error, p *packet) string {
	if met == nil || met.Place == "" || strings.Contains(p.group, "/") {
		return p.group
	}
	o.mutex.Lock()
	defer o.mutex.Unlock()
	if !o.named[met.Place] {
		if len(o.named) >= maxNamed || len(met.Place) > maxNamedLength {
			return p.group
		}
		o.named[met.Place] = true
	}
	return met.Place
}

// ambiguous counts a packet that may have been applied, or is, though its caller was told of an error.
func (o *observer) ambiguous(p *packet) {
	operation := "other"
	switch {
	case p.holds == outcome.Committing:
		operation = "commit"
	case p.last != nil && p.last.Table != "":
		operation = p.last.Name()
	}
	o.handler.WithTags(
		metrics.StringTag("operation", operation),
		metrics.StringTag("workload", string(p.workload)),
	).Counter("vitess_ambiguous").Record(1)
}

// maxQuoted is how much of a packet the log quotes, in bytes.
const maxQuoted = 2000

// failed counts an error that a packet has met in the end, and logs it with what the error itself does not say. It
// returns the error.
func (o *observer) failed(err error, p *packet) error {
	var classified *outcome.Error
	if !errors.As(err, &classified) {
		o.count(outcome.ClassOf(err), o.place(nil, p))
		return err
	}
	if classified.Doing != session.Connecting { // that was counted when it was met
		o.count(classified.Class, o.place(classified, p))
	}
	if classified.MayBeApplied() {
		o.ambiguous(p)
	}
	sql := p.sql
	if len(sql) > maxQuoted {
		sql = sql[:maxQuoted] + "…"
	}
	tags := []tag.Tag{tag.Error(err), tag.String("statements", sql), tag.NewStringsTag("routes", p.routes())}
	if classified.Cause != nil {
		tags = append(tags, tag.String("cause", classified.Cause.Error()))
	}
	if classified.Class == outcome.Defect {
		o.logger.Error("A statement or transaction broke the rules that keep it on one Vitess shard", tags...)
	} else {
		o.logger.Warn("Statements failed", tags...)
	}
	return err
}
