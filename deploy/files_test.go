package deploy_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
	k8syaml "sigs.k8s.io/yaml"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

// moduleDir returns where the files of a module are, in the version that the plugin is built with.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	list.Dir = ".."
	output, err := list.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(output))
}

// documents returns the documents of a YAML file as JSON.
func documents(t *testing.T, text string) [][]byte {
	t.Helper()
	var all [][]byte
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document any
		if err := decoder.Decode(&document); err != nil {
			require.ErrorContains(t, err, "EOF")
			return all
		}
		if document == nil {
			continue
		}
		data, err := yaml.Marshal(document)
		require.NoError(t, err)
		data, err = k8syaml.YAMLToJSONStrict(data)
		require.NoError(t, err)
		all = append(all, data)
	}
}

// decode decodes JSON and fails on a field that the type lacks.
func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), "%s", data)
}

// recommended returns what docs/configuration.md says to start a program of Vitess with: its flags, or mysqld's settings.
func recommended(t *testing.T, program string) map[string]string {
	t.Helper()
	wanted := map[string]string{}
	for line := range strings.SplitSeq(read(t, "../docs/configuration.md"), "\n") {
		rest, ok := strings.CutPrefix(line, program+"  ")
		if !ok {
			continue
		}
		if program == "mysqld" {
			name, value, _ := strings.Cut(rest, "=")
			wanted[strings.TrimSpace(name)] = strings.TrimSpace(value)
			continue
		}
		for flag := range strings.FieldsSeq(rest) {
			name, value, given := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			if !given {
				value = "true"
			}
			wanted[name] = value
		}
	}
	require.NotEmpty(t, wanted)
	return wanted
}

// table returns the rows of the first Markdown table of a page whose first column has that head, by the cell of that column
// and the heads of the others.
func table(t *testing.T, page, head string) map[string]map[string]string {
	t.Helper()
	cells := func(line string) []string {
		var all []string
		for cell := range strings.SplitSeq(strings.Trim(line, "| "), "|") {
			all = append(all, strings.TrimSpace(cell))
		}
		return all
	}
	rows := map[string]map[string]string{}
	var heads []string
	for line := range strings.SplitSeq(read(t, page), "\n") {
		switch {
		case heads == nil && strings.HasPrefix(line, "| "+head+" |"):
			heads = cells(line)
		case heads != nil && !strings.HasPrefix(line, "|"):
			require.NotEmpty(t, rows)
			return rows
		case heads != nil && !strings.HasPrefix(line, "|---"):
			row := map[string]string{}
			for i, cell := range cells(line) {
				row[heads[i]] = cell
			}
			rows[row[head]] = row
		}
	}
	require.NotEmpty(t, rows, "%s has no table %s", page, head)
	return rows
}

// A file that is new here needs a test, and a name in this list.
func TestEveryFileHasATest(t *testing.T) {
	var files []string
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Dir(path) != "." && filepath.Ext(path) != ".go" {
			files = append(files, filepath.ToSlash(path))
		}
		return err
	}))
	require.Equal(t, []string{
		"compose/.env", "compose/.gitignore", "compose/README.md", "compose/certificates.sh", "compose/compose.yaml", "compose/dynamicconfig/docker.yaml",
		"compose/services.yaml", "compose/temporal.env", "compose/tls.env",
		"dev/Dockerfile", "dev/mysqld.cnf", "dev/temporal-vitess-dev",
		"helm/README.md", "helm/render.sh", "helm/rendered/development.yaml", "helm/rendered/planetscale.yaml", "helm/rendered/production.yaml",
		"helm/values-development.yaml", "helm/values-planetscale.yaml", "helm/values-production.yaml",
		"observability/README.md", "observability/alerts.yaml", "observability/dashboard.json",
		"render/README.md", "render/render.yaml",
		"vitess-operator/README.md", "vitess-operator/large.yaml", "vitess-operator/medium.yaml", "vitess-operator/secrets.example.yaml",
		"vitess-operator/service.yaml", "vitess-operator/small.yaml", "vitess-operator/unmanaged.yaml",
	}, files)
}
