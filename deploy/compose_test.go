package deploy_test

import (
	tlsconfig "crypto/tls"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	composecli "github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/rpc/encryption"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/command"
	sample "github.com/temporal-vitess/temporal-vitess/config"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// compose returns what Compose makes of its file, and of others on top, where no variable is set.
func compose(t *testing.T, others ...string) *types.Project {
	t.Helper()
	options, err := composecli.NewProjectOptions(append([]string{"compose/compose.yaml"}, others...), composecli.WithEnvFiles(), composecli.WithDotEnv)
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

// moduleVersion returns the version of a module that the module in dir is built with.
func moduleVersion(t *testing.T, dir, module string) string {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module)
	list.Dir = dir
	output, err := list.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(output))
}

// vttestserver returns the flags of a command line of that program, as it knows them.
func vttestserver(t *testing.T, arguments []string) map[string]string {
	t.Helper()
	require.Equal(t, "vttestserver", arguments[0])
	flags := map[string]string{}
	for _, argument := range arguments[1:] {
		name, value, given := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
		if !given {
			value = "true"
		}
		flags[name] = value
	}
	return effective(t, "vttestserver", flags)
}

// requireVitess requires what Temporal needs of a vttestserver, and returns the port where vtgate speaks MySQL.
func requireVitess(t *testing.T, flags map[string]string) string {
	t.Helper()
	shards := strings.Split(flags["num-shards"], ",")
	keyspaces := strings.Split(flags["keyspaces"], ",")
	require.ElementsMatch(t, []string{string(vschema.Main), string(vschema.Global), string(vschema.Visibility)}, keyspaces)
	for i, keyspace := range keyspaces {
		data, err := vschema.JSON(vschema.Role(keyspace), vschema.ProfileNamespace)
		require.NoError(t, err)
		var loaded struct{ Sharded bool }
		require.NoError(t, json.Unmarshal(data, &loaded))
		require.Equal(t, loaded.Sharded, number(t, shards[i]) > 1, keyspace)
	}
	for name, value := range recommended(t, "vtgate") {
		if !strings.Contains(name, "buffer") { // there is nothing to fail over to, and no flag
			require.Equal(t, value, flags[name], name)
		}
	}
	require.Equal(t, "true", flags["persistent-mode"], "data is kept")
	require.Equal(t, "%", flags["vschema-ddl-authorized-users"], "the tool sets the VSchema up through vtgate")
	return strconv.Itoa(number(t, flags["port"]) + 3) // PortForProtocol in Vitess' go/vt/vttest/environment.go
}

// requireServer requires that a server with these variables has its stores in the keyspaces, at that address.
func requireServer(t *testing.T, variables map[string]string, address string) {
	t.Helper()
	for name := range variables {
		require.True(t, name == "DB" || slices.Contains(templateVariables(), name), "config/vitess.yaml does not read %s", name)
	}
	require.Equal(t, "vitess", variables["DB"])
	environment(t, variables)
	cfg := load(t, string(sample.Vitess))
	main, visibility := cfg.Persistence.DataStores["default"].SQL, cfg.Persistence.DataStores["visibility"].SQL
	for _, store := range []*config.SQL{main, visibility} {
		require.Equal(t, address, store.ConnectAddr)
	}
	require.Equal(t, string(vschema.Main), main.DatabaseName)
	require.Equal(t, string(vschema.Global), main.ConnectAttributes["vitess_global_keyspace"])
	require.Equal(t, string(vschema.Visibility), visibility.DatabaseName)
	requirePluginTakes(t, sqlplugin.DbKindMain, main)
	requirePluginTakes(t, sqlplugin.DbKindVisibility, visibility)
}

// requireTool requires that the tool takes a command line, and returns which of its commands that runs.
func requireTool(t *testing.T, arguments []string, wanted map[string]string) string {
	t.Helper()
	environment(t, nil)
	require.Equal(t, "temporal-vitess-tool", arguments[0])
	var ran string
	tool := command.New()
	for _, c := range tool.Commands {
		c.Action = func(c *cli.Context) error { // instead of connecting
			require.False(t, c.Args().Present())
			for flag, value := range wanted {
				require.Equal(t, value, fmt.Sprint(c.Value(flag)), flag)
			}
			ran = c.Command.Name
			return nil
		}
	}
	require.NoError(t, tool.RunContext(t.Context(), arguments))
	return ran
}

// requireCreatesNamespace requires a command line of `temporal-server create-namespace` with flags that it has.
func requireCreatesNamespace(t *testing.T, arguments []string) {
	t.Helper()
	source := read(t, "../cmd/temporal-server/namespace.go")
	require.Equal(t, []string{"temporal-server", "create-namespace"}, arguments[:2])
	require.Contains(t, source, `Name: "create-namespace"`)
	for _, argument := range arguments[2:] {
		if flag, ok := strings.CutPrefix(argument, "--"); ok {
			require.Regexp(t, `Name: +"`+flag+`"`, source)
		}
	}
}

func TestComposeStartsTemporalOnVitess(t *testing.T) {
	project := compose(t)
	vitess, temporal := project.Services["vitess"], project.Services["temporal"]
	port := requireVitess(t, vttestserver(t, vitess.Command))
	require.Contains(t, vitess.HealthCheck.Test[3], "/"+port)

	variables := variablesOf(temporal)
	requireServer(t, variables, "vitess:"+port)
	require.True(t, temporal.ReadOnly)

	var ran []string
	for _, name := range []string{"setup-schema", "update-schema"} {
		ran = append(ran, requireTool(t, project.Services[name].Command, map[string]string{
			"endpoint": "vitess", "port": port, "user": variables["MYSQL_USER"], "keyspace": variables["DBNAME"],
		}))
	}
	require.Equal(t, []string{"setup-schema", "update-schema"}, ran)
	requireCreatesNamespace(t, project.Services["namespace"].Command)
	require.Subset(t, project.Services["namespace"].Command, []string{"--address", "temporal:7233"})

	waits := map[string]map[string]string{}
	for name, service := range project.Services {
		for on, dependency := range service.DependsOn {
			if waits[name] == nil {
				waits[name] = map[string]string{}
			}
			waits[name][on] = dependency.Condition
		}
	}
	require.Equal(t, map[string]map[string]string{
		"setup-schema":  {"vitess": "service_healthy"},
		"update-schema": {"setup-schema": "service_completed_successfully"},
		"temporal":      {"vitess": "service_healthy", "update-schema": "service_completed_successfully"},
		"namespace":     {"temporal": "service_healthy"},
		"ui":            {"temporal": "service_healthy"},
	}, waits)
}

// variablesOf returns the environment of a service.
func variablesOf(service types.ServiceConfig) map[string]string {
	variables := map[string]string{}
	for name, value := range service.Environment {
		variables[name] = *value
	}
	return variables
}

func TestComposesFourServicesSpeakTLS(t *testing.T) {
	certificates := t.TempDir()
	output, err := exec.Command("compose/certificates.sh", certificates).CombinedOutput()
	require.NoError(t, err, string(output))
	// in is the file of the test for a file of a container.
	in := func(path string) string {
		file, ok := strings.CutPrefix(path, "/etc/temporal/certificates/")
		require.True(t, ok, path)
		return filepath.Join(certificates, file)
	}
	project := compose(t, "compose/services.yaml")

	scaled := map[string]int{}
	for name, service := range project.Services {
		variables := variablesOf(service)
		started, ok := variables["TEMPORAL_SERVICES"]
		if !ok {
			continue
		}
		scaled[started] = service.GetScale()
		require.True(t, service.ReadOnly)
		require.Equal(t, project.Services["temporal"].Image, service.Image)
		mounted := slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/etc/temporal/certificates" })
		require.GreaterOrEqual(t, mounted, 0, name)
		require.Equal(t, "certificates", filepath.Base(service.Volumes[mounted].Source), "where certificates.sh puts them")
		require.Equal(t, "service_completed_successfully", service.DependsOn["update-schema"].Condition, name)

		delete(variables, "TEMPORAL_SERVICES") // the command line's
		for name, value := range variables {
			if strings.HasPrefix(value, "/etc/temporal/certificates/") {
				variables[name] = in(value)
			}
		}
		requireServer(t, variables, "vitess:33577")
		cfg := load(t, string(sample.Vitess))
		require.True(t, cfg.Global.TLS.Internode.Server.RequireClientAuth)
		require.True(t, cfg.Global.TLS.Frontend.Server.RequireClientAuth)
		tls, err := encryption.NewTLSConfigProviderFromConfig(cfg.Global.TLS, metrics.NoopMetricsHandler, log.NewNoopLogger(), nil)
		require.NoError(t, err)
		for _, get := range []func() (*tlsconfig.Config, error){tls.GetInternodeServerConfig, tls.GetInternodeClientConfig, tls.GetFrontendServerConfig, tls.GetFrontendClientConfig} {
			got, err := get()
			require.NoError(t, err)
			require.NotNil(t, got)
		}
	}
	require.Equal(t, map[string]int{"frontend": 1, "history": 2, "matching": 2, "worker": 1}, scaled)

	uiReads := read(t, filepath.Join(uiDir(t), "config/docker.yaml"))
	ui := variablesOf(project.Services["ui"])
	for name := range ui {
		require.Contains(t, uiReads, `env "`+name+`"`)
	}
	_, err = tlsconfig.LoadX509KeyPair(in(ui["TEMPORAL_TLS_CERT"]), in(ui["TEMPORAL_TLS_KEY"]))
	require.NoError(t, err)
}

func TestComposesImages(t *testing.T) {
	project := compose(t)
	var major, patch int
	_, err := fmt.Sscanf(moduleVersion(t, "..", "vitess.io/vitess"), "v0.%d.%d", &major, &patch)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("vitess/vttestserver:v%d.0.%d-mysql80", major, patch), project.Services["vitess"].Image)
	require.Equal(t, "temporalio/ui:"+strings.TrimPrefix(moduleVersion(t, ".", "github.com/temporalio/ui-server/v2"), "v"), project.Services["ui"].Image)
	for _, service := range []string{"temporal", "setup-schema", "update-schema", "namespace"} {
		require.Equal(t, defaultTag(t, "../scripts/build-image.sh"), project.Services[service].Image)
	}
	require.Contains(t, read(t, "compose/.env"), "VITESS_IMAGE="+defaultTag(t, "../scripts/build-dev-image.sh")+" ")

	uiReads := read(t, filepath.Join(uiDir(t), "config/docker.yaml"))
	for name := range project.Services["ui"].Environment {
		require.Contains(t, uiReads, `env "`+name+`"`)
	}
}

// defaultTag returns how a script names the image that it builds.
func defaultTag(t *testing.T, script string) string {
	t.Helper()
	match := regexp.MustCompile(`(?m)^tag=\$\{1:-(.+)\}$`).FindStringSubmatch(read(t, script))
	require.NotNil(t, match, script)
	return match[1]
}

// uiDir returns where the files of the web UI's module are.
func uiDir(t *testing.T) string {
	t.Helper()
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/temporalio/ui-server/v2").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(output))
}

func TestComposesDynamicConfigIsValid(t *testing.T) {
	mounted := compose(t).Services["temporal"].Volumes[0]
	require.Equal(t, "dynamicconfig", filepath.Base(mounted.Source))
	require.Contains(t, string(sample.Vitess), mounted.Target+"/docker.yaml")
	result := dynamicconfig.LoadYamlFile([]byte(read(t, "compose/dynamicconfig/docker.yaml")))
	require.Empty(t, result.Errors)
	require.Empty(t, result.Warnings)
}

func TestTheDevelopmentImageStartsTemporalOnVitess(t *testing.T) {
	script := read(t, "dev/temporal-vitess-dev")
	joined := strings.ReplaceAll(script, "\\\n", "")
	line := regexp.MustCompile(`(?m)^vttestserver .*? >`).FindString(joined)
	arguments := strings.Fields(strings.TrimSuffix(strings.ReplaceAll(line, `"$VTDATAROOT"`, "/vt/vtdataroot"), ">"))
	require.ElementsMatch(t, compose(t).Services["vitess"].Command, arguments, "compose and the development image start the same Vitess")
	port := requireVitess(t, vttestserver(t, arguments))

	variables := map[string]string{"LOG_LEVEL": "warn"}
	for _, match := range regexp.MustCompile(`(?m)^export (.*=.*)$`).FindAllStringSubmatch(script, -1) {
		for _, assignment := range strings.Fields(match[1]) {
			name, value, _ := strings.Cut(assignment, "=")
			if name != "LOG_LEVEL" {
				variables[name] = value
			}
		}
	}
	requireServer(t, variables, "127.0.0.1:"+port)

	global := regexp.MustCompile(`(?m)^tool=\((.*)\)$`).FindStringSubmatch(script)
	require.NotNil(t, global)
	filled := strings.NewReplacer(`"$DB_PORT"`, port, `"$MYSQL_USER"`, variables["MYSQL_USER"]).Replace(global[1])
	var ran []string
	for _, match := range regexp.MustCompile(`(?m)^"\$\{tool\[@\]\}" (.*)$`).FindAllStringSubmatch(script, -1) {
		ran = append(ran, requireTool(t, append(strings.Fields(filled), strings.Fields(match[1])...), map[string]string{"port": port}))
	}
	require.Equal(t, []string{"setup-schema", "update-schema"}, ran)
	requireCreatesNamespace(t, strings.Fields(regexp.MustCompile(`(?m)^temporal-server create-namespace [a-z]+`).FindString(script)))

	dockerfile := read(t, "dev/Dockerfile")
	require.Contains(t, dockerfile, "EXPOSE 7233 8080 "+port)
	require.Equal(t, recommended(t, "mysqld")["transaction_isolation"], settings(read(t, "dev/mysqld.cnf"))["transaction_isolation"])
}
