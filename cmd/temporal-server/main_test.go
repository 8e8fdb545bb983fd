package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/headers"
)

// TestMentionsAllThatUpstreamsServerMentions guards the repetition of upstream's package main: a flag, variable,
// command, message, server option or plugin that a new release adds there must be added here.
func TestMentionsAllThatUpstreamsServerMentions(t *testing.T) {
	directory, err := exec.Command("go", "list", "-f", "{{.Dir}}", "go.temporal.io/server/cmd/server").Output()
	require.NoError(t, err)
	theirs := mentions(t, strings.TrimSpace(string(directory)))
	ours := mentions(t, ".")

	require.Greater(t, len(theirs), 100, "upstream's cmd/server has moved: find it, and compare anew")
	maps.DeleteFunc(theirs, func(mention string, _ bool) bool { return ours[mention] })
	for _, mention := range []string{"fmt.Println", "os.Stdout"} { // ours writes to the app's Writer
		delete(theirs, mention)
	}
	require.Empty(t, slices.Sorted(maps.Keys(theirs)),
		"upstream's cmd/server mentions what cmd/temporal-server does not: repeat it here")
}

// mentions collects the imports, strings and names of other packages' members in the Go files of a directory.
func mentions(t *testing.T, directory string) map[string]bool {
	found := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(directory, "*.go"))
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.BasicLit:
				found[node.Value] = true
			case *ast.SelectorExpr:
				if x, ok := node.X.(*ast.Ident); ok && x.Obj == nil { // not a variable, so a package
					found[x.Name+"."+node.Sel.Name] = true
				}
			}
			return true
		})
	}
	return found
}

// run runs the program in process and returns what it wrote to standard output, with the error that decides its
// exit code.
func run(arguments ...string) (string, error) {
	var output bytes.Buffer
	app := newApp()
	app.Writer = &output
	app.ExitErrHandler = func(*cli.Context, error) {}
	err := app.Run(append([]string{"temporal-server"}, arguments...))
	return output.String(), err
}

func TestVersionNamesAllThreeParts(t *testing.T) {
	release = "v9.8.7"
	t.Cleanup(func() { release = "" })
	output, err := run("--version")
	require.NoError(t, err)
	require.Regexp(t, `^temporal version `+headers.ServerVersion+` \(temporal-vitess v9\.8\.7, vitess v\d+\.\d+\.\d+\)\n$`, output)
}

func TestValidateDynamicConfigFailsOnErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dynamic.yaml")
	require.NoError(t, os.WriteFile(file, []byte("frontend.rps:\n- value: 10\n"), 0o600))
	output, err := run("validate-dynamic-config", file)
	require.NoError(t, err)
	require.Equal(t, file+"\n", output)

	require.NoError(t, os.WriteFile(file, []byte("frontend.rps: many\n"), 0o600))
	output, err = run("validate-dynamic-config", file)
	require.EqualError(t, err, "1 total errors")
	require.Contains(t, output, "error: ")
}

func TestRenderConfig(t *testing.T) {
	clearenv := func(t *testing.T) {
		for _, name := range []string{"DB", "TEMPORAL_SERVER_CONFIG_FILE_PATH", "TEMPORAL_CONFIG_DIR", "TEMPORAL_ENVIRONMENT"} {
			t.Setenv(name, "")
			require.NoError(t, os.Unsetenv(name))
		}
		t.Setenv("MYSQL_SEEDS", "vtgate.example.com")
		t.Setenv("MYSQL_PWD", "secret")
	}
	const sample = "../../config/vitess.yaml"

	t.Run("DB=vitess uses the embedded template and leaves no file behind", func(t *testing.T) {
		clearenv(t)
		t.Setenv("TMPDIR", t.TempDir())
		t.Setenv("DB", "Vitess")
		embedded, err := run("render-config")
		require.NoError(t, err)
		require.Contains(t, embedded, "pluginName: vitess")
		require.Contains(t, embedded, "connectAddr: vtgate.example.com:3306")
		require.NotContains(t, embedded, "secret")
		require.Empty(t, entries(t, os.Getenv("TMPDIR")))

		file, err := run("--config-file", sample, "render-config")
		require.NoError(t, err)
		require.Equal(t, embedded, file)
		directory, err := run("--config", filepath.Dir(sample), "--env", "vitess", "render-config")
		require.NoError(t, err)
		require.Equal(t, embedded, directory)
	})
	t.Run("DB=vitess says what to do where no temporary file can be made", func(t *testing.T) {
		clearenv(t)
		t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
		t.Setenv("DB", "vitess")
		_, err := run("render-config")
		require.ErrorContains(t, err, "or set TEMPORAL_SERVER_CONFIG_FILE_PATH to a copy of config/vitess.yaml")
	})
	t.Run("a named file goes before DB=vitess", func(t *testing.T) {
		clearenv(t)
		t.Setenv("DB", "vitess")
		_, err := run("--config-file", "missing.yaml", "render-config")
		require.ErrorContains(t, err, "missing.yaml")
	})
	t.Run("without DB=vitess the deprecated directory is read, as upstream does", func(t *testing.T) {
		clearenv(t)
		_, err := run("render-config")
		require.ErrorContains(t, err, "no config files found in directory: config")
	})
}

func entries(t *testing.T, directory string) []os.DirEntry {
	found, err := os.ReadDir(directory)
	require.NoError(t, err)
	return found
}

func TestStartRefusesConflictingFlags(t *testing.T) {
	_, err := run("--config-file", "a.yaml", "--env", "b", "start")
	require.EqualError(t, err, "ERROR: can not use --config, --env, --zone, or --root with --config-file")
	_, err = run("start", "frontend")
	require.EqualError(t, err, "ERROR: start command doesn't support arguments. Use --service flag instead.")
}

func TestStartReportsAnUnusableConfiguration(t *testing.T) {
	t.Setenv("TEMPORAL_SERVER_CONFIG_FILE_PATH", "missing.yaml")
	_, err := run("start")
	var exit cli.ExitCoder
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.ErrorContains(t, err, "Unable to load configuration: could not read config file: missing.yaml")
}

func TestBindOnHostname(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	for name, test := range map[string]struct {
		bindOnIP, broadcast         string
		wantBindOnIP, wantBroadcast string
	}{
		"nothing set":                      {wantBindOnIP: host},
		"an address is kept":               {bindOnIP: "192.0.2.1", wantBindOnIP: "192.0.2.1"},
		"a wildcard needs an address":      {bindOnIP: "0.0.0.0", wantBindOnIP: "0.0.0.0", wantBroadcast: host},
		"the IPv6 wildcard as well":        {bindOnIP: "::0", wantBindOnIP: "::0", wantBroadcast: host},
		"a wildcard with a broadcast kept": {bindOnIP: "0.0.0.0", broadcast: "192.0.2.2", wantBindOnIP: "0.0.0.0", wantBroadcast: "192.0.2.2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envBindOnIP, test.bindOnIP)
			t.Setenv(envBroadcastAddress, test.broadcast)
			lookup := func(name string) ([]string, error) { return []string{name}, nil }
			require.NoError(t, bindOnHostname(lookup))
			require.Equal(t, test.wantBindOnIP, os.Getenv(envBindOnIP))
			require.Equal(t, test.wantBroadcast, os.Getenv(envBroadcastAddress))
		})
	}
}
