package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"gopkg.in/yaml.v3"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	sample "github.com/temporal-vitess/temporal-vitess/config"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// option is a row of the table in docs/options.md.
type option struct {
	// store is main, visibility, or "" for both; path is below the store's sql, or begins with persistence.
	store, path                                      string
	environment, compose, helm, tool, toolsVariables []string
	value                                            string
}

func options(t *testing.T) []option {
	t.Helper()
	quoted := regexp.MustCompile("`([^`]*)`")
	all := func(cell string) []string {
		var found []string
		for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
			found = append(found, match[1])
		}
		return found
	}
	var options []option
	for _, row := range table(t, "../docs/options.md", "YAML") {
		o := option{environment: all(row["environment"]), compose: all(row["Compose"]), helm: all(row["Helm"]), value: strings.Join(all(row["default of `config/vitess.yaml`"]), "")}
		o.store, _, _ = strings.Cut(row["YAML"], ": `")
		if strings.HasPrefix(o.store, "`") {
			o.store = ""
		}
		require.Len(t, all(row["YAML"]), 1)
		o.path = all(row["YAML"])[0]
		for _, name := range all(row["tool"]) {
			if strings.Contains(name, "--") {
				o.tool = append(o.tool, name)
			} else {
				o.toolsVariables = append(o.toolsVariables, name)
			}
		}
		options = append(options, o)
	}
	return options
}

// at returns what is at a path of a YAML document, "" for nothing.
func at(document map[string]any, path string) string {
	var value any = document
	for key := range strings.SplitSeq(path, ".") {
		below, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = below[key]
	}
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

func TestTheEnvironmentHasTheOptionsOfTheTable(t *testing.T) {
	var documented []string
	render := func(variables map[string]string) map[string]any {
		environment(t, variables)
		data, err := yaml.Marshal(load(t, string(sample.Vitess)))
		require.NoError(t, err)
		var document map[string]any
		require.NoError(t, yaml.Unmarshal(data, &document))
		return document
	}
	where := func(o option, store string) string {
		if strings.HasPrefix(o.path, "persistence.") {
			return o.path
		}
		return "persistence.datastores." + map[string]string{"main": "default", "visibility": "visibility"}[store] + ".sql." + o.path
	}
	const seeds = "MYSQL_SEEDS"
	plain := render(map[string]string{seeds: "host", "SQL_TLS_ENABLED": "true"})
	for _, o := range options(t) {
		documented = append(documented, o.environment...)
		stores := []string{"main", "visibility"}
		if o.store != "" {
			stores = []string{o.store}
		}
		for _, store := range stores {
			path := where(o, store)
			if o.path == "connectAttributes" || o.path == "passwordCommand" {
				require.Empty(t, o.environment)
				continue
			}
			if o.value != "" && o.path != "tls.enabled" {
				require.Equal(t, strings.ReplaceAll(o.value, "1h", "1h0m0s"), at(plain, path), "default of %s", path)
			}
			for _, variable := range o.environment {
				value := "77"
				switch {
				case o.value == "true", o.value == "false":
					value = map[string]string{"true": "false", "false": "true"}[o.value]
				case o.value == "1h":
					value = "2h0m0s"
				}
				changed := map[string]string{seeds: "host", "SQL_TLS_ENABLED": "true"}
				if variable == "SQL_TLS_ENABLED" {
					changed = map[string]string{seeds: "host"}
					value = "true"
				}
				changed[variable] = value
				require.Contains(t, at(render(changed), path), value, "%s does not set %s", variable, path)
			}
		}
	}
	ours := regexp.MustCompile(`^(MYSQL|VISIBILITY|VITESS|SQL|DBNAME|DB_PORT|NUM_HISTORY)`)
	for _, variable := range templateVariables() {
		if ours.MatchString(variable) {
			require.Contains(t, documented, variable, "docs/options.md lacks it")
		}
	}
}

func TestThePluginHasTheOptionsOfTheTable(t *testing.T) {
	var documented []string
	for _, o := range options(t) {
		if name, ok := strings.CutPrefix(o.path, "connectAttributes."); ok {
			documented = append(documented, name)
		}
	}
	_, err := plugin.NewDB(sqlplugin.DbKindMain, &config.SQL{PluginName: plugin.Name, DatabaseName: "temporal", ConnectAttributes: map[string]string{"vitess_no_such": "1"}},
		refusing{}, log.NewNoopLogger(), metrics.NoopMetricsHandler)
	require.ErrorContains(t, err, "there are ")
	_, list, _ := strings.Cut(err.Error(), "there are ")
	require.ElementsMatch(t, strings.Split(list, ", "), documented)
}

func TestComposeHasTheOptionsOfTheTable(t *testing.T) {
	variables := compose(t).Services["temporal"].Environment
	for _, o := range options(t) {
		var given []string
		for _, name := range o.environment {
			if value := variables[name]; value != nil {
				given = append(given, *value)
			}
		}
		require.Equal(t, given, o.compose, o.path)
	}
}

func TestHelmHasTheOptionsOfTheTable(t *testing.T) {
	for _, o := range options(t) {
		for _, value := range o.helm {
			document := "numHistoryShards: 1"
			if path, ok := strings.CutPrefix(value, "S."); ok {
				if path == "existingSecret" || path == "secretKey" { // the chart's own
					require.Contains(t, read(t, "helm/values-production.yaml"), path+":")
					continue
				}
				require.Equal(t, o.path, path)
				document = "datastores:\n  default:\n    sql:\n"
				indent := "      "
				for key := range strings.SplitSeq(path, ".") {
					document += indent + key + ":\n"
					indent += "  "
				}
				document = strings.TrimSuffix(document, ":\n") + ": null\n"
			} else {
				require.Equal(t, "persistence."+value, o.path)
			}
			decoder := yaml.NewDecoder(strings.NewReader(document))
			decoder.KnownFields(true)
			require.NoError(t, decoder.Decode(&config.Persistence{}), value)
		}
	}
}

func TestTheToolHasTheOptionsOfTheTable(t *testing.T) {
	environment(t, nil)
	tool := command.New()
	find := func(flags []cli.Flag, name string) cli.DocGenerationFlag {
		for _, flag := range flags {
			if slices.Contains(flag.Names(), name) {
				return flag.(cli.DocGenerationFlag)
			}
		}
		require.Fail(t, "the tool has no --"+name)
		return nil
	}
	documented := map[string]bool{}
	for _, o := range options(t) {
		var variables []string
		for _, name := range o.tool {
			flags := tool.Flags
			name, ofDoctor := strings.CutPrefix(name, "doctor ")
			if ofDoctor {
				flags = tool.Command("doctor").Flags
			}
			variables = append(variables, find(flags, strings.TrimPrefix(name, "--")).GetEnvVars()...)
		}
		require.ElementsMatch(t, variables, o.toolsVariables, "%v", o.tool)
		for _, variable := range variables {
			documented[variable] = true
		}
	}
	for _, flag := range tool.Flags {
		for _, variable := range flag.(cli.DocGenerationFlag).GetEnvVars() {
			if variable != "VTCTLD" && variable != "SQL_PLUGIN" { // no options of the stores
				require.True(t, documented[variable], "docs/options.md lacks %s", variable)
			}
		}
	}
}

// The flags that docs/security.md names are those of Vitess and of the tool.
func TestTheSecurityPageNamesFlagsThatExist(t *testing.T) {
	known := map[string]bool{}
	flag := regexp.MustCompile(`--([a-z][a-z-]+)`)
	programs, err := filepath.Glob(filepath.Join(moduleDir(t, "vitess.io/vitess"), "go/flags/endtoend", "vt*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, programs)
	for _, program := range programs {
		for _, match := range flag.FindAllStringSubmatch(read(t, program), -1) {
			known[match[1]] = true
		}
	}
	for _, flag := range command.New().Flags {
		for _, name := range flag.Names() {
			known[name] = true
		}
	}
	for _, match := range flag.FindAllStringSubmatch(read(t, "../docs/security.md"), -1) {
		require.True(t, known[match[1]], "there is no flag --%s", match[1])
	}
}

// Links of the pages lead to files.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, page := range []string{
		"../docs/starting.md", "../docs/sizing.md", "../docs/security.md", "../docs/options.md", "../docs/metrics.md", "../docs/operations/alerts.md",
		"compose/README.md", "helm/README.md", "vitess-operator/README.md", "render/README.md", "observability/README.md",
	} {
		for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(match[1], "://") {
				_, err := os.Stat(filepath.Join(filepath.Dir(page), match[1]))
				require.NoError(t, err, "in %s", page)
			}
		}
	}
}
