package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// newResults returns results without figures, with what they depend on.
func newResults(s settings, operations []operation) *results {
	r := &results{Machine: machine(), Settings: s, Configurations: configurations}
	for _, operation := range operations {
		r.Operations = append(r.Operations, operation.Name)
	}
	return r
}

// machine describes this machine and the versions that took part.
func machine() string {
	parts := []string{fmt.Sprintf("%d CPUs (%s)", runtime.NumCPU(), processor()), runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range info.Deps {
			switch dependency.Path {
			case "go.temporal.io/server", "vitess.io/vitess", "github.com/go-sql-driver/mysql":
				parts = append(parts, dependency.Path+" "+dependency.Version)
			}
		}
	}
	return strings.Join(parts, ", ")
}

// processor returns the model of the CPU, where the system has it in /proc, or its architecture.
func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
