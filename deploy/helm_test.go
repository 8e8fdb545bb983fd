package deploy_test

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"gopkg.in/yaml.v3"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// rendered are what helm/render.sh has made of the values files.
var rendered = map[string][]string{
	"development": {"values-development.yaml"},
	"production":  {"values-production.yaml"},
	"planetscale": {"values-production.yaml", "values-planetscale.yaml"},
}

func TestTheRenderedFilesAreOfTheseValues(t *testing.T) {
	for name, values := range rendered {
		sum := sha256.New()
		for _, file := range values {
			sum.Write([]byte(read(t, "helm/"+file)))
		}
		head, _, _ := strings.Cut(read(t, "helm/rendered/"+name+".yaml"), "\n")
		require.Equal(t, fmt.Sprintf("# Written by render.sh: chart temporal 1.6.0, %s, sha256 %x", strings.Join(values, " "), sum.Sum(nil)), head,
			"the values have changed: run helm/render.sh")
	}
}

// manifests returns the server's configuration, a template, and the schema job.
func manifests(t *testing.T, name string) (string, batchv1.Job) {
	t.Helper()
	var template corev1.ConfigMap
	var job batchv1.Job
	for _, document := range documents(t, read(t, "helm/rendered/"+name+".yaml")) {
		var kind struct{ Kind string }
		require.NoError(t, json.Unmarshal(document, &kind))
		if kind.Kind == "ConfigMap" {
			decode(t, document, &template)
		} else {
			decode(t, document, &job)
		}
	}
	return template.Data["config_template.yaml"], job
}

// environment empties the environment but for what is given.
func environment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name != "PATH" && name != "HOME" && name != "TMPDIR" {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// load loads a configuration as the server does.
func load(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	cfg, err := config.Load(config.WithConfigFile(file))
	require.NoError(t, err)
	require.NoError(t, cfg.Persistence.Validate())
	return cfg
}

// requireKnown requires that nothing in the stores of a configuration has a name that the server would leave aside.
func requireKnown(t *testing.T, text string) {
	t.Helper()
	var raw struct{ Persistence yaml.Node }
	require.NoError(t, yaml.Unmarshal([]byte(withoutTemplates(text)), &raw))
	data, err := yaml.Marshal(&raw.Persistence)
	require.NoError(t, err)
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&config.Persistence{}))
}

// withoutTemplates replaces what the server's loader would fill in.
func withoutTemplates(text string) string {
	for {
		before, rest, ok := strings.Cut(text, "{{")
		if !ok {
			return text
		}
		_, after, _ := strings.Cut(rest, "}}")
		text = before + "x" + after
	}
}

// refusing opens no connection.
type refusing struct{}

func (refusing) Connect(context.Context) (driver.Conn, error) {
	return nil, errors.New("not in this test")
}
func (refusing) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// requirePluginTakes lets the plugin read the options of a store.
func requirePluginTakes(t *testing.T, kind sqlplugin.DbKind, store *config.SQL) {
	t.Helper()
	require.Equal(t, plugin.Name, store.PluginName)
	db, err := plugin.NewDB(kind, store, refusing{}, log.NewNoopLogger(), metrics.NoopMetricsHandler)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestTheServerTakesTheRenderedConfiguration(t *testing.T) {
	for name := range rendered {
		t.Run(name, func(t *testing.T) {
			template, _ := manifests(t, name)
			environment(t, map[string]string{
				"POD_IP": "10.0.0.1", "TEMPORAL_SERVICES": "history",
				"TEMPORAL_DEFAULT_STORE_PASSWORD": "p1", "TEMPORAL_VISIBILITY_STORE_PASSWORD": "p2",
			})
			requireKnown(t, template)
			cfg := load(t, template)
			require.Equal(t, "10.0.0.1", cfg.Global.Membership.BroadcastAddress)
			require.EqualValues(t, number(t, table(t, "../docs/sizing.md", "size")["medium"]["history shards"]), cfg.Persistence.NumHistoryShards)
			main, visibility := cfg.Persistence.DataStores[cfg.Persistence.DefaultStore].SQL, cfg.Persistence.DataStores[cfg.Persistence.VisibilityStore].SQL
			requirePluginTakes(t, sqlplugin.DbKindMain, main)
			requirePluginTakes(t, sqlplugin.DbKindVisibility, visibility)
			require.Equal(t, "p1", main.Password)
			require.Equal(t, "p2", visibility.Password)
			require.Equal(t, string(vschema.Main), main.DatabaseName)
			require.Equal(t, string(vschema.Global), main.ConnectAttributes["vitess_global_keyspace"])
			require.Equal(t, string(vschema.Visibility), visibility.DatabaseName)
			require.Equal(t, []int{20, 10}, []int{main.MaxConns, visibility.MaxConns}, "as docs/sizing.md has it")
			for _, store := range []*config.SQL{main, visibility} {
				if name == "development" {
					require.Nil(t, store.TLS)
				} else {
					require.True(t, store.TLS.Enabled && store.TLS.EnableHostVerification)
				}
			}
			if name != "development" {
				require.True(t, cfg.Global.TLS.Internode.Server.RequireClientAuth)
				require.True(t, cfg.Global.TLS.Frontend.Server.RequireClientAuth)
			}
		})
	}
}

// container returns the environment of a container of the schema job, with a password for each Secret.
func containerEnvironment(container corev1.Container) map[string]string {
	variables := map[string]string{}
	for _, variable := range container.Env {
		variables[variable.Name] = variable.Value
		if variable.ValueFrom != nil {
			variables[variable.Name] = "from " + variable.ValueFrom.SecretKeyRef.Name + "/" + variable.ValueFrom.SecretKeyRef.Key
		}
	}
	return variables
}

func TestTheToolTakesTheSchemaSteps(t *testing.T) {
	for name, wanted := range map[string]map[string]string{
		"development": {"endpoint": "vtgate", "user": "temporal_schema", "password": "change-me-too", "tls": "false", "keyspace": "temporal"},
		"production": {
			"endpoint": "vtgate", "user": "temporal_schema", "password": "from temporal-vtgate/schema-password", "keyspace": "temporal",
			"tls": "true", "tls-ca-file": "/etc/temporal/tls/vtgate/ca.crt",
		},
	} {
		_, job := manifests(t, name)
		var ran []string
		for _, container := range job.Spec.Template.Spec.InitContainers {
			t.Run(name+" "+container.Name, func(t *testing.T) {
				variables := containerEnvironment(container)
				environment(t, variables)
				tool := command.New()
				for variable := range variables {
					require.True(t, slices.ContainsFunc(tool.Flags, func(flag cli.Flag) bool {
						documented, ok := flag.(cli.DocGenerationFlag)
						return ok && slices.Contains(documented.GetEnvVars(), variable)
					}), "the tool knows no %s", variable)
				}
				for _, c := range tool.Commands {
					c.Action = func(c *cli.Context) error { // instead of connecting
						require.False(t, c.Args().Present())
						for flag, value := range wanted {
							require.Equal(t, value, fmt.Sprint(c.Value(flag)), flag)
						}
						ran = append(ran, c.Command.Name)
						return nil
					}
				}
				require.Equal(t, "temporal-vitess-tool", container.Command[0])
				require.NoError(t, tool.RunContext(t.Context(), container.Command))
			})
		}
		require.Equal(t, []string{"setup-schema", "update-schema"}, ran, name)
	}
	_, job := manifests(t, "planetscale")
	require.Empty(t, job.Spec.Template.Spec.InitContainers)
}

// TestTheChartIsGivenWhatItNeeds is about what the chart would otherwise do in its own way.
func TestTheChartIsGivenWhatItNeeds(t *testing.T) {
	type service struct {
		ReplicaCount        int
		PodDisruptionBudget map[string]any
	}
	var values struct {
		Server struct {
			Metrics struct {
				ServiceMonitor struct{ Enabled bool }
			}
			Frontend, History, Matching, Worker service
		}
	}
	require.NoError(t, json.Unmarshal(documents(t, read(t, "helm/values-production.yaml"))[0], &values))
	require.True(t, values.Server.Metrics.ServiceMonitor.Enabled)
	var replicas []string
	for _, s := range []service{values.Server.Frontend, values.Server.History, values.Server.Matching, values.Server.Worker} {
		replicas = append(replicas, fmt.Sprint(s.ReplicaCount))
		require.GreaterOrEqual(t, s.ReplicaCount, 2, "one may be away")
		require.NotEmpty(t, s.PodDisruptionBudget)
	}
	require.Equal(t, table(t, "../docs/sizing.md", "size")["medium"]["frontend, history, matching, worker"], strings.Join(replicas, ", "))

	var secret corev1.Secret
	decode(t, documents(t, read(t, "vitess-operator/secrets.example.yaml"))[0], &secret)
	for _, file := range []string{"development", "production"} {
		for _, user := range []string{"temporal", "temporal_schema"} {
			require.Contains(t, read(t, "helm/values-"+file+".yaml"), user)
			require.Contains(t, secret.StringData["users.json"], `"`+user+`"`)
		}
	}
}
