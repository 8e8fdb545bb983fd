package config_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	upstream "go.temporal.io/server/common/config"

	"github.com/temporal-vitess/temporal-vitess/config"
)

// The variables of upstream's template that belong to other databases.
var otherDatabases = regexp.MustCompile(`CASSANDRA_|POSTGRES_|SQLITE_|^KEYSPACE$|^MYSQL_TX_ISOLATION_COMPAT$`)

func TestVitessTemplateReadsTheVariablesOfUpstreamsTemplate(t *testing.T) {
	theirs := variables(upstreamTemplate(t))
	theirs = slices.DeleteFunc(theirs, func(name string) bool { return name == "DB" || otherDatabases.MatchString(name) })
	ours := slices.DeleteFunc(variables(config.Vitess), func(name string) bool { return strings.HasPrefix(name, "VITESS_") })
	require.NotEmpty(t, theirs)
	require.Equal(t, theirs, ours)
}

// Every variable gets a value of its own, so that one which ends up in the wrong place shows.
func TestVitessTemplateIsUpstreamsButForThePlugin(t *testing.T) {
	all := map[string]string{}
	for i, name := range variables(config.Vitess) {
		all[name] = exampleValue(name, i)
	}
	without := func(names ...string) map[string]string {
		environment := maps.Clone(all)
		maps.DeleteFunc(environment, func(name, _ string) bool { return slices.Contains(names, name) })
		return environment
	}
	for name, environment := range map[string]map[string]string{
		"only the address is set":         {"MYSQL_SEEDS": "vtgate"},
		"everything is set":               all,
		"Prometheus, no internal service": without("STATSD_ENDPOINT", "USE_INTERNAL_FRONTEND"),
		"no visibility variables": without("VISIBILITY_MYSQL_SEEDS", "VISIBILITY_DB_PORT", "VISIBILITY_MYSQL_USER",
			"VISIBILITY_MYSQL_PWD", "VISIBILITY_DBNAME", "ENABLE_ES"),
	} {
		t.Run(name, func(t *testing.T) {
			clearenv(t)
			for name, value := range environment {
				t.Setenv(name, value)
			}
			ours, err := upstream.Load(upstream.WithConfigFile("vitess.yaml"))
			require.NoError(t, err)
			t.Setenv("DB", "mysql8")
			theirs, err := upstream.Load(upstream.WithEmbedded())
			require.NoError(t, err)

			if environment["NUM_HISTORY_SHARDS"] == "" {
				require.EqualValues(t, 512, ours.Persistence.NumHistoryShards)
				ours.Persistence.NumHistoryShards = theirs.Persistence.NumHistoryShards
			}
			for _, store := range []string{"default", "visibility"} {
				sql := ours.Persistence.DataStores[store].SQL
				require.Equal(t, "vitess", sql.PluginName)
				sql.PluginName = "mysql8"
				sql.ConnectAttributes = nil
			}
			require.Equal(t, theirs, ours)
		})
	}
}

func TestVitessTemplateSetsThePluginsOptions(t *testing.T) {
	clearenv(t)
	t.Setenv("MYSQL_SEEDS", "vtgate")
	options := func() (main, visibility map[string]string) {
		cfg, err := upstream.Load(upstream.WithConfigFile("vitess.yaml"))
		require.NoError(t, err)
		stores := cfg.Persistence.DataStores
		return stores["default"].SQL.ConnectAttributes, stores["visibility"].SQL.ConnectAttributes
	}

	main, visibility := options()
	require.Equal(t, map[string]string{
		"vitess_global_keyspace": "temporal_global", "vitess_max_rows": "10000", "vitess_unknown_statements": "pass",
		"vitess_pipelining": "on", "vitess_subqueue_tasks": "vitess",
	}, main)
	require.Equal(t, map[string]string{
		"vitess_visibility_profile": "namespace", "vitess_visibility_queries": "tuned", "vitess_max_rows": "10000", "vitess_unknown_statements": "pass",
		"vitess_pipelining": "on",
	}, visibility)

	t.Setenv("DBNAME", "orders")
	main, _ = options()
	require.Equal(t, "orders_global", main["vitess_global_keyspace"])

	t.Setenv("VITESS_GLOBAL_KEYSPACE", "global")
	t.Setenv("VITESS_VISIBILITY_PROFILE", "spread")
	t.Setenv("VITESS_VISIBILITY_QUERIES", "upstream")
	t.Setenv("VITESS_MAX_ROWS", "500")
	t.Setenv("VITESS_UNKNOWN_STATEMENTS", "reject")
	t.Setenv("VITESS_PIPELINING", "off")
	t.Setenv("VITESS_SUBQUEUE_TASKS", "upstream")
	main, visibility = options()
	require.Equal(t, map[string]string{
		"vitess_global_keyspace": "global", "vitess_max_rows": "500", "vitess_unknown_statements": "reject",
		"vitess_pipelining": "off", "vitess_subqueue_tasks": "upstream",
	}, main)
	require.Equal(t, map[string]string{
		"vitess_visibility_profile": "spread", "vitess_visibility_queries": "upstream", "vitess_max_rows": "500", "vitess_unknown_statements": "reject",
		"vitess_pipelining": "off",
	}, visibility)
}

func TestVitessTemplateTakesPasswordsOfAnyCharacters(t *testing.T) {
	clearenv(t)
	t.Setenv("MYSQL_SEEDS", "vtgate")
	t.Setenv("MYSQL_PWD", `"a\b': #{{c}}`)
	cfg, err := upstream.Load(upstream.WithConfigFile("vitess.yaml"))
	require.NoError(t, err)
	require.Equal(t, `"a\b': #{{c}}`, cfg.Persistence.DataStores["default"].SQL.Password)
	require.Equal(t, `"a\b': #{{c}}`, cfg.Persistence.DataStores["visibility"].SQL.Password)
}

func TestVitessTemplateAsksForTheAddressOfVtgate(t *testing.T) {
	clearenv(t)
	_, err := upstream.Load(upstream.WithConfigFile("vitess.yaml"))
	require.ErrorContains(t, err, "MYSQL_SEEDS is not set")
}

// variables lists the environment variables that a template reads, sorted.
func variables(template []byte) []string {
	names := map[string]bool{}
	for _, match := range regexp.MustCompile(`env "(\w+)"`).FindAllSubmatch(template, -1) {
		names[string(match[1])] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// exampleValue is a value of the type that variable name needs, different for every i where the type allows it.
func exampleValue(name string, i int) string {
	switch {
	case regexp.MustCompile(`^USE_|^ENABLE_|_ENABLED$|_VERIFICATION$|_REQUIRE_`).MatchString(name):
		return "true"
	case regexp.MustCompile(`_PORT$|_CONNS$|^NUM_`).MatchString(name):
		return fmt.Sprint(1000 + i)
	case regexp.MustCompile(`_INTERVAL$|_WINDOW$|_CONN_TIME$|_REFRESH$`).MatchString(name):
		return fmt.Sprintf("%ds", 1000+i)
	default:
		return fmt.Sprintf("value-of-%s", name)
	}
}

func upstreamTemplate(t *testing.T) []byte {
	directory, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/server").Output()
	require.NoError(t, err)
	template, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(directory)),
		"common", "config", "config_template_embedded.yaml"))
	require.NoError(t, err)
	return template
}

// clearenv unsets, for this test, every variable that either template reads.
func clearenv(t *testing.T) {
	for _, name := range append(variables(config.Vitess), "DB", "MYSQL_TX_ISOLATION_COMPAT") {
		t.Setenv(name, "")
	}
}

func TestVitessTemplateTakesSeveralVTGates(t *testing.T) {
	clearenv(t)
	t.Setenv("MYSQL_SEEDS", "vtgate-1,vtgate-2")
	t.Setenv("VISIBILITY_MYSQL_SEEDS", "other-1,other-2")
	t.Setenv("DB_PORT", "15306")
	cfg, err := upstream.Load(upstream.WithConfigFile("vitess.yaml"))
	require.NoError(t, err)
	require.Equal(t, "vtgate-1:15306,vtgate-2:15306", cfg.Persistence.DataStores["default"].SQL.ConnectAddr)
	require.Equal(t, "other-1:15306,other-2:15306", cfg.Persistence.DataStores["visibility"].SQL.ConnectAddr)
}
