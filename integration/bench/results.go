package main

import (
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
)

// results are what is written as JSON. Times are in milliseconds.
type results struct {
	Machine        string          `json:"machine"`
	Settings       settings        `json:"settings"`
	Configurations []configuration `json:"configurations"`
	Operations     []string        `json:"operations"` // in the order of the report
	Wire           []wireResult    `json:"wire"`
	Timings        []timingResult  `json:"timings"`
	CPU            []*cpuResult    `json:"cpu"`
	Workflows      []timingResult  `json:"workflows"`
	// Isolation is what a Vitess shard that fails does to calls on another.
	Isolation []isolationResult `json:"isolation"`
}

// wireResult is what one call puts on the wire.
type wireResult struct {
	Operation     string `json:"operation"`
	Configuration string `json:"configuration"`
	wire.Counts
}

// timingResult is how long the calls of an operation take.
type timingResult struct {
	Operation     string  `json:"operation"`
	Configuration string  `json:"configuration"`
	Delay         float64 `json:"delay"` // of the network, there and back
	Callers       int     `json:"callers"`
	Calls         int     `json:"calls"`
	P50           float64 `json:"p50"`
	P99           float64 `json:"p99"`
	// PerSecond is the rate of all callers together, which have one history shard each.
	PerSecond float64 `json:"per_second"`
}

// cpuResult is the CPU time of all calls of many callers without delay.
type cpuResult struct {
	Configuration string             `json:"configuration"`
	Calls         int                `json:"calls"`
	Processes     map[string]float64 `json:"processes"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r *results) addWire(operation operation, s *subject, counts wire.Counts) {
	r.Wire = append(r.Wire, wireResult{Operation: operation.Name, Configuration: s.Name, Counts: counts})
}

func (r *results) addTiming(operation operation, s *subject, delay time.Duration, callers int, samples []time.Duration, elapsed time.Duration) {
	r.Timings = append(r.Timings, newTiming(operation.Name, s, delay, callers, samples, elapsed))
}

func newTiming(operation string, s *subject, delay time.Duration, callers int, samples []time.Duration, elapsed time.Duration) timingResult {
	return timingResult{
		Operation:     operation,
		Configuration: s.Name,
		Delay:         milliseconds(delay),
		Callers:       callers,
		Calls:         len(samples),
		P50:           milliseconds(percentile(samples, 50)),
		P99:           milliseconds(percentile(samples, 99)),
		PerSecond:     float64(len(samples)) / elapsed.Seconds(),
	}
}

func (r *results) addCPU(s *subject, calls int, before, after map[string]time.Duration) {
	var result *cpuResult
	for _, existing := range r.CPU {
		if existing.Configuration == s.Name {
			result = existing
		}
	}
	if result == nil {
		result = &cpuResult{Configuration: s.Name, Processes: map[string]float64{}}
		r.CPU = append(r.CPU, result)
	}
	result.Calls += calls
	for name := range after {
		result.Processes[name] += milliseconds(after[name] - before[name])
	}
}

func (r *results) wire(operation, configuration string) (wireResult, bool) {
	for _, result := range r.Wire {
		if result.Operation == operation && result.Configuration == configuration {
			return result, true
		}
	}
	return wireResult{}, false
}

func (r *results) timing(operation, configuration string, delay time.Duration, callers int) (timingResult, bool) {
	for _, result := range r.Timings {
		if result.Operation == operation && result.Configuration == configuration &&
			result.Delay == milliseconds(delay) && result.Callers == callers {
			return result, true
		}
	}
	return timingResult{}, false
}
