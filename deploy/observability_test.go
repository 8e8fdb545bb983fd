package deploy_test

import (
	"context"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/deploy/observability"
)

// alerts returns the alert rules by their names.
func alerts(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	all, err := observability.Alerts()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

func TestEachAlertHasARunbook(t *testing.T) {
	page := read(t, "../docs/operations/alerts.md")
	for name, rule := range alerts(t) {
		require.Contains(t, []string{"critical", "warning", "info"}, rule.Labels["severity"], name)
		require.NotEmpty(t, rule.Annotations["summary"], name)
		require.NotEmpty(t, rule.Annotations["description"], name)
		require.Equal(t, "https://github.com/temporal-vitess/temporal-vitess/blob/main/docs/operations/alerts.md#"+strings.ToLower(name), rule.Annotations["runbook_url"])
		require.Contains(t, page, "\n## "+name+"\n")
	}
	for _, section := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(page, -1) {
		require.Contains(t, alerts(t), section[1], "a section without its alert")
	}
}

// healthy are series of a cluster in peace, for an hour with a sample each 30 s; with a failover and an upgrade of the
// servers in it, which are no reason to wake anybody.
const healthy = `
	NAME_errors{class="refused",keyspace="temporal",vitess_shard="_80",instance="t1"} 0+20x120
	NAME_errors{class="canceled",keyspace="temporal",vitess_shard="_80",instance="t1"} 0+1x120
	NAME_errors{class="not_executed",keyspace="temporal",vitess_shard="_80",instance="t1"} 0+0x60 4x60
	NAME_ambiguous{operation="commit",workload="history",instance="t1"} _x60 2x60
	NAME_retries{class="not_executed",keyspace="temporal",vitess_shard="_80",instance="t1"} 0+0x60 90x60
	NAME_statements{workload="history",route="single",instance="t1"} 0+9000x120
	NAME_connections_opened{instance="t1"} 0+1x120
	NAME_packet_latency_bucketLE{cause="commit",instance="t1",le="FAST"} 0+100x120
	NAME_packet_latency_bucketLE{cause="commit",instance="t1",le="+Inf"} 0+100x120
	vitess_info{plugin="v1_0_0",schema="1_19",vitess="24_0_3",db_kind="main",instance="t1"} 1x60 0+0x60
	vitess_info{plugin="v1_1_0",schema="1_19",vitess="24_0_3",db_kind="main",instance="t1"} _x60 1x60
	persistence_sql_in_use{db_kind="main",instance="t1"} 4x120
	persistence_sql_max_open_conn{db_kind="main",instance="t1"} 20x120
	vtgate_healthcheck_connections{keyspace="temporal",shard_name="-80",tablet_type="primary",instance="g1"} 1x120
	vtgate_healthcheck_connections{keyspace="temporal",shard_name="80-",tablet_type="primary",instance="g1"} 1x60 _x0 1x60
	vtgate_commit_mode_timings_count{mode="Single",instance="g1"} 0+900x120
	vtgate_buffer_requests_evicted{reason="BufferFull",keyspace="temporal",shard_name="-80",instance="g1"} 0+0x120
	vtgate_buffer_requests_skipped{reason="BufferFull",keyspace="temporal",shard_name="-80",instance="g1"} 0+0x120
	vtgate_buffer_stops{reason="MaxDurationExceeded",keyspace="temporal",shard_name="-80",instance="g1"} 0+0x120
	vtgate_buffer_stops{reason="NewPrimarySeen",keyspace="temporal",shard_name="-80",instance="g1"} 0+0x60 1x60
	vttablet_found_rows_pool_in_use{instance="v1"} 30x120
	vttablet_found_rows_pool_capacity{instance="v1"} 160x120
	vttablet_conn_pool_in_use{instance="v1"} 30x120
	vttablet_conn_pool_capacity{instance="v1"} 160x120
	vttablet_replication_lag_sec{instance="v2"} 0+0x60 12x4 0+0x56
	vttablet_semi_sync_monitor_writes_blocked{instance="v1"} 0+0x120
	vttablet_kills{query_type="Transactions",instance="v1"} 0+0x60 3x60
	vttablet_v_replication_lag_seconds_max{instance="v1"} 0+0x120
`

// sick has for each alert series with which it fires.
var sick = map[string]string{
	"TemporalVitessDefect":               `NAME_errors{class="defect",keyspace="temporal",vitess_shard="_80"} _x60 1x60`,
	"TemporalVitessUnknownStatement":     `NAME_statements{workload="",route="unknown"} _x60 1x60`,
	"TemporalVitessUnknownError":         `NAME_errors{class="unknown",keyspace="temporal",vitess_shard="_80"} 3x60 4x60`,
	"TemporalVitessShardFails":           `NAME_errors{class="not_executed",keyspace="temporal",vitess_shard="_80"} 0+0x60 0+30x60`,
	"TemporalVitessAmbiguous":            `NAME_ambiguous{operation="commit",workload="history"} 0+0x60 0+3x60`,
	"TemporalVitessRetries":              `NAME_retries{class="not_executed",keyspace="temporal",vitess_shard="_80"} 0+0x60 0+60x60`,
	"TemporalVitessOverloaded":           `NAME_errors{class="overloaded",keyspace="temporal",vitess_shard="_80"} 0+0x60 0+9x60`,
	"TemporalVitessConnectionStorm":      `NAME_connections_opened{instance="t1"} 0+0x60 0+200x60`,
	"TemporalVitessPoolFull":             "persistence_sql_in_use{db_kind=\"main\",instance=\"t1\"} 20x120\npersistence_sql_max_open_conn{db_kind=\"main\",instance=\"t1\"} 20x120",
	"TemporalVitessCommitsSlow":          "NAME_packet_latency_bucketLE{cause=\"commit\",le=\"FAST\"} 0+90x120\nNAME_packet_latency_bucketLE{cause=\"commit\",le=\"SLOW\"} 0+100x120\nNAME_packet_latency_bucketLE{cause=\"commit\",le=\"+Inf\"} 0+100x120",
	"TemporalVitessVersionsDiffer":       "vitess_info{plugin=\"v1_0_0\",schema=\"1_19\",db_kind=\"main\",instance=\"t1\"} 1x240\nvitess_info{plugin=\"v1_1_0\",schema=\"1_19\",db_kind=\"main\",instance=\"t2\"} 1x240",
	"VitessShardWithoutPrimary":          "vtgate_healthcheck_connections{keyspace=\"temporal\",shard_name=\"-80\",tablet_type=\"primary\",instance=\"g1\"} 1x120\nvtgate_healthcheck_connections{keyspace=\"temporal\",shard_name=\"80-\",tablet_type=\"primary\",instance=\"g1\"} 1x60 stale _x60",
	"VitessTransactionOverSeveralShards": `vtgate_commit_mode_timings_count{mode="Multi",instance="g1"} _x60 1x60`,
	"VitessBufferFull":                   "vtgate_buffer_requests_evicted{reason=\"BufferFull\",keyspace=\"temporal\",shard_name=\"-80\",instance=\"g1\"} 0+0x60 40x60\nvtgate_buffer_requests_skipped{reason=\"BufferFull\",keyspace=\"temporal\",shard_name=\"-80\",instance=\"g1\"} 0+0x120",
	"VitessBufferingTooLong":             `vtgate_buffer_stops{reason="MaxDurationExceeded",keyspace="temporal",shard_name="-80"} 0+0x60 1x60`,
	"VitessPoolFull":                     "vttablet_conn_pool_in_use{instance=\"v1\"} 160x120\nvttablet_conn_pool_capacity{instance=\"v1\"} 160x120",
	"VitessReplicationLag":               `vttablet_replication_lag_sec{instance="v2"} 0+0x60 0+30x60`,
	"VitessSemiSyncBlocked":              `vttablet_semi_sync_monitor_writes_blocked{instance="v1"} 0+0x60 1x60`,
	"VitessTransactionsKilled":           `vttablet_kills{query_type="Transactions",instance="v1"} 0+0x60 40x60`,
	"VitessVReplicationLag":              `vttablet_v_replication_lag_seconds_max{instance="v1"} 0+0x60 90x60`,
}

// frameworks are what Temporal's two make of the plugin's names, see docs/metrics.md.
var frameworks = map[string]func(string) string{
	"tally": strings.NewReplacer("_bucketLE", "_bucket", `le="FAST"`, `le="0.01"`, `le="SLOW"`, `le="5"`, "NAME", "vitess").Replace,
	"OpenTelemetry": func(series string) string {
		series = strings.NewReplacer("_bucketLE", "_milliseconds_bucket", `le="FAST"`, `le="10"`, `le="SLOW"`, `le="5000"`, "NAME", "vitess").Replace(series)
		return regexp.MustCompile(`(?m)^(\s*vitess_(?:errors|retries|statements|ambiguous|connections_opened))\{`).ReplaceAllString(series, "${1}_total{")
	},
}

// fired returns the alerts that fired at any time over the series.
func fired(t *testing.T, series string) []string {
	t.Helper()
	var lines []string
	longest := 121
	for line := range strings.SplitSeq(series, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, "  "+line)
			if strings.HasSuffix(line, "x240") {
				longest = 241
			}
		}
	}
	storage := promqltest.LoadedStorage(t, "load 30s\n"+strings.Join(lines, "\n"))
	engine := promqltest.NewTestEngineWithOpts(t, promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	query := rules.EngineQueryFunc(engine, storage)
	var all []string
	for name, rule := range alerts(t) {
		expr, err := observability.PromQL.ParseExpr(rule.Expr)
		require.NoError(t, err)
		alert := rules.NewAlertingRule(name, expr, time.Duration(rule.For), 0, labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations),
			labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
		for i := range longest {
			_, err := alert.Eval(context.Background(), 0, time.Unix(0, 0).Add(time.Duration(i)*30*time.Second), query, &url.URL{}, 0)
			require.NoError(t, err, name)
			if slices.ContainsFunc(alert.ActiveAlerts(), func(a *rules.Alert) bool { return a.State == rules.StateFiring }) {
				all = append(all, name)
				break
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestAlertsAreSilentInPeace(t *testing.T) {
	series := regexp.MustCompile(`(?m)^\s*(\w+)\{`)
	for framework, named := range frameworks {
		require.Empty(t, fired(t, named(healthy)), framework)
		var there []string
		for _, match := range series.FindAllStringSubmatch(named(healthy), -1) {
			there = append(there, match[1])
		}
		for name, rule := range alerts(t) {
			metrics, err := observability.Metrics(rule.Expr)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(metrics, func(pattern string) bool {
				return slices.ContainsFunc(there, regexp.MustCompile("^(?:"+pattern+")$").MatchString)
			}), "%s: nothing in peace could set %s off", framework, name)
		}
	}
}

func TestEachAlertFires(t *testing.T) {
	require.Equal(t, slices.Sorted(maps.Keys(alerts(t))), slices.Sorted(maps.Keys(sick)))
	for framework, named := range frameworks {
		for name, series := range sick {
			require.Equal(t, []string{name}, fired(t, named(series)), framework)
		}
	}
}

func TestTheDashboardSaysWhatGoodLooksLike(t *testing.T) {
	//lint:ignore SA1019 it is the format that every Grafana imports
	var board dashboard.Dashboard
	require.Empty(t, board.UnmarshalJSONStrict(observability.Dashboard)) // its errors are a list
	require.NoError(t, board.Validate())
	panels, err := observability.Panels()
	require.NoError(t, err)
	require.NotEmpty(t, panels)
	for _, p := range panels {
		if p.Type == "row" {
			continue
		}
		require.Contains(t, p.Description, "Good: ", p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
	}
}

// What the plugin counts stands in docs/metrics.md.
func TestThePluginsMetricsAreDocumented(t *testing.T) {
	documented := regexp.MustCompile("(?m)^\\| `(vitess_\\w+)` \\|").FindAllStringSubmatch(read(t, "../docs/metrics.md"), -1)
	require.NotEmpty(t, documented)
	metrics, err := observability.MetricsInUse()
	require.NoError(t, err)
	used := strings.Join(metrics, " ")
	for _, name := range documented {
		require.Contains(t, used, name[1], "neither dashboard nor alerts have it")
	}
	for name := range strings.FieldsSeq(used) {
		if strings.HasPrefix(name, "vitess_") {
			require.True(t, slices.ContainsFunc(documented, func(d []string) bool { return strings.HasPrefix(name, d[1]) }), "docs/metrics.md has no %s", name)
		}
	}
}
