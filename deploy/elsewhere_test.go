package deploy_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	sample "github.com/temporal-vitess/temporal-vitess/config"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// templateVariables are those that config/vitess.yaml reads.
func templateVariables() []string {
	var all []string
	for _, match := range regexp.MustCompile(`\(?env "(\w+)"`).FindAllSubmatch(sample.Vitess, -1) {
		all = append(all, string(match[1]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestTheServerTakesRendersVariables(t *testing.T) {
	type service struct {
		Type, Name, Runtime, Plan string
		Image                     struct{ URL string }
		NumInstances              int
		EnvVars                   []struct {
			Key, Value  string
			Sync        *bool
			FromService *struct{ Type, Name, Property string }
		}
	}
	var blueprint struct{ Services []service }
	decode(t, documents(t, read(t, "render/render.yaml"))[0], &blueprint)
	require.Len(t, blueprint.Services, 2)
	temporal, ui := blueprint.Services[0], blueprint.Services[1]

	variables := map[string]string{}
	for _, variable := range temporal.EnvVars {
		require.True(t, variable.Key == "DB" || slices.Contains(templateVariables(), variable.Key), "config/vitess.yaml does not read %s", variable.Key)
		require.NotEqual(t, variable.Value == "", variable.Sync == nil, variable.Key)
		variables[variable.Key] = variable.Value
		if variable.Sync != nil {
			require.False(t, *variable.Sync)
			variables[variable.Key] = "asked-for"
		}
	}
	require.Equal(t, "vitess", variables["DB"])
	environment(t, variables)
	cfg := load(t, string(sample.Vitess))
	main, visibility := cfg.Persistence.DataStores["default"].SQL, cfg.Persistence.DataStores["visibility"].SQL
	require.Equal(t, "asked-for:3306", main.ConnectAddr)
	require.Equal(t, "asked-for", main.Password)
	require.Equal(t, string(vschema.Main), main.DatabaseName)
	require.Equal(t, string(vschema.Global), main.ConnectAttributes["vitess_global_keyspace"])
	require.Equal(t, string(vschema.Visibility), visibility.DatabaseName)
	require.True(t, main.TLS.Enabled && main.TLS.EnableHostVerification)
	requirePluginTakes(t, sqlplugin.DbKindMain, main)
	requirePluginTakes(t, sqlplugin.DbKindVisibility, visibility)

	require.Equal(t, "web", ui.Type)
	public := map[string]string{}
	for _, variable := range ui.EnvVars {
		public[variable.Key] = variable.Value
		if variable.FromService != nil {
			require.Equal(t, []string{temporal.Type, temporal.Name}, []string{variable.FromService.Type, variable.FromService.Name})
		}
	}
	require.Equal(t, "true", public["TEMPORAL_AUTH_ENABLED"], "its address is public")
	require.Contains(t, public, "TEMPORAL_ADDRESS")
}

func TestTheDevContainerStartsTheDemo(t *testing.T) {
	var container struct {
		Name, Image       string
		HostRequirements  map[string]any
		ContainerEnv      map[string]string
		OnCreateCommand   string
		PostAttachCommand string
		ForwardPorts      []int
		PortsAttributes   map[string]struct{ Label, OnAutoForward string }
	}
	decode(t, []byte(read(t, "../.devcontainer/devcontainer.json")), &container)
	makefile := read(t, "../Makefile")
	for _, command := range []string{container.OnCreateCommand, container.PostAttachCommand} {
		target, ok := strings.CutPrefix(command, "make ")
		require.True(t, ok, command)
		require.Contains(t, makefile, "\n"+target+":", "the Makefile has no such target")
	}
	require.Equal(t, "auto", container.ContainerEnv["GOTOOLCHAIN"])
	require.Contains(t, container.ForwardPorts, 7233)
	require.Contains(t, read(t, "../integration/demo/main.go"), "frontendPort = 7233")
	require.Contains(t, container.ForwardPorts, 8080)
	require.Contains(t, read(t, "../integration/demo/main.go"), "uiPort       = 8080")
	for _, port := range container.ForwardPorts {
		data, err := json.Marshal(port)
		require.NoError(t, err)
		require.Contains(t, container.PortsAttributes, string(data))
	}
}
