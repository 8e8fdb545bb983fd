package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Table returns the results as a table in Markdown.
func Table(results []*Result) string {
	var b strings.Builder
	b.WriteString("| fault | workflows, calls | lost | doubled | ended wrong | stray rows | failed, hurt | failed, others | failed updates | longest without a write: Vitess | plugin | Temporal | p99, others | errors of the plugin |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d, %d | %d | %d | %d | %d | %v | %v | %v | %s | %s | %s | %s | %s |\n", r.Fault, r.Workflows, r.Calls,
			len(r.Lost), len(r.Doubled), len(r.Wrong), len(r.Strays), r.Hurt, r.Healthy, r.Updates,
			seconds(r.Vitess), seconds(r.Plugin), seconds(r.Temporal), r.p99(), byClass(r.Errors))
	}
	return b.String()
}

// String says what happened in a line; what was lost or went wrong is in Err.
func (r *Result) String() string {
	return fmt.Sprintf("%d workflows, %d calls; failed: %v where it hurt, %v elsewhere, %v updates; longest without a write: Vitess %s, plugin %s, Temporal %s; errors of the plugin: %s",
		r.Workflows, r.Calls, r.Hurt, r.Healthy, r.Updates, seconds(r.Vitess), seconds(r.Plugin), seconds(r.Temporal), cmp.Or(byClass(r.Errors), "none"))
}

// String returns as many failed of all.
func (t Tally) String() string {
	if t.All == 0 {
		return "–"
	}
	return fmt.Sprintf("%d of %d", t.Failed, t.All)
}

// p99 says how it changed on the Vitess shards that are not hurt, if there are any.
func (r *Result) p99() string {
	if r.HealthyP99 == 0 {
		return "–"
	}
	return fmt.Sprintf("%d → %d ms", r.CalmP99.Milliseconds(), r.HealthyP99.Milliseconds())
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func byClass(errors map[string]int64) string {
	classes := slices.SortedFunc(maps.Keys(errors), func(a, b string) int { return cmp.Or(cmp.Compare(errors[b], errors[a]), cmp.Compare(a, b)) })
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%s %d", class, errors[class])
	}
	return strings.Join(classes, ", ")
}

// Totals returns a table in plain text with the sums and the longest times of each fault.
func Totals(results []*Result) string {
	totals := map[string]*Result{}
	times := map[string]int{}
	for _, r := range results {
		times[r.Fault]++
		t, ok := totals[r.Fault]
		if !ok {
			t = &Result{Fault: r.Fault}
			totals[r.Fault] = t
		}
		t.add(r)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\ttimes\tworkflows\tcalls\tlost\tdoubled\twrong\tstray\tfailed, hurt\tfailed, others\tfailed updates\tVitess\tplugin\tTemporal")
	for _, name := range slices.Sorted(maps.Keys(totals)) {
		t := totals[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%v\t%s\t%s\t%s\n", name, times[name], t.Workflows, t.Calls,
			len(t.Lost), len(t.Doubled), len(t.Wrong)+len(t.Defects), len(t.Strays), t.Hurt, t.Healthy, t.Updates,
			seconds(t.Vitess), seconds(t.Plugin), seconds(t.Temporal))
	}
	_ = w.Flush()
	return b.String()
}

// add makes r the sum of both, with the longer times.
func (r *Result) add(other *Result) {
	r.Workflows, r.Calls = r.Workflows+other.Workflows, r.Calls+other.Calls
	r.Lost, r.Doubled, r.Wrong = append(r.Lost, other.Lost...), append(r.Doubled, other.Doubled...), append(r.Wrong, other.Wrong...)
	r.Strays, r.Defects = append(r.Strays, other.Strays...), append(r.Defects, other.Defects...)
	for _, tally := range []struct{ sum, more *Tally }{{&r.Hurt, &other.Hurt}, {&r.Healthy, &other.Healthy}, {&r.Updates, &other.Updates}} {
		tally.sum.All, tally.sum.Failed = tally.sum.All+tally.more.All, tally.sum.Failed+tally.more.Failed
	}
	r.Vitess, r.Plugin, r.Temporal = max(r.Vitess, other.Vitess), max(r.Plugin, other.Plugin), max(r.Temporal, other.Temporal)
}
