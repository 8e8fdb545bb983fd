package routing

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
)

// upstreamSource is what upstream's mysql package has to do with SQL.
type upstreamSource struct {
	// sites are the calls that send SQL: each site's lines.
	sites map[string][]string
	// literals are the string literals that start a statement, as patterns of the statement's beginning, by place.
	literals map[string]*regexp.Regexp
}

// sendsSQL matches the methods of sqlx and of upstream's wrappers that take SQL text.
var sendsSQL = regexp.MustCompile(`^((Named)?(Exec|Query)|Get|Select|Queryx|QueryRowx?)$|^[A-Z][A-Za-z]*Context$`)

// readUpstream parses the source of upstream's mysql package from the module cache.
func readUpstream(t *testing.T) upstreamSource {
	t.Helper()
	output, err := exec.Command("go", "list", "-f", `{{.Dir}}{{range .GoFiles}} {{.}}{{end}}`, inventory.UpstreamPackage).Output()
	require.NoError(t, err, "go list %s", inventory.UpstreamPackage)
	fields := strings.Fields(string(output))
	source := upstreamSource{sites: make(map[string][]string), literals: make(map[string]*regexp.Regexp)}
	files := token.NewFileSet()
	forwarders := reflect.TypeFor[sqlplugin.Conn]()
	for _, name := range fields[1:] {
		file, err := parser.ParseFile(files, filepath.Join(fields[0], name), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				_, forwards := forwarders.MethodByName(node.Name.Name)
				return !forwards
			case *ast.CallExpr:
				if selector, ok := node.Fun.(*ast.SelectorExpr); ok && sendsSQL.MatchString(selector.Sel.Name) {
					first, last := files.Position(node.Pos()), files.Position(node.End())
					var lines []string
					for line := first.Line; line <= last.Line; line++ {
						lines = append(lines, inventory.CallSite(name, line))
					}
					source.sites[lines[0]] = lines
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING && startsStatement.MatchString(text) {
					source.literals[inventory.CallSite(name, files.Position(node.Pos()).Line)] = beginningOf(text)
				}
			}
			return true
		})
	}
	return source
}

var (
	startsStatement = regexp.MustCompile(`(?i)^\s*(select|insert|update|delete|replace|create|drop|show|alter)\s`)
	formatVerb      = regexp.MustCompile(`:?%(\\\[\d+\\\])?[vs]`)
	namedParameter  = regexp.MustCompile(`:\w+`)
)

// beginningOf turns a template into a pattern of statements that start with it.
func beginningOf(template string) *regexp.Regexp {
	pattern := regexp.QuoteMeta(squeeze(template))
	pattern = formatVerb.ReplaceAllString(pattern, ".*?")
	return regexp.MustCompile("^" + namedParameter.ReplaceAllString(pattern, `\?`))
}

// checkComplete fails for each statement in upstream's source that the calls did not send.
func checkComplete(t *testing.T, calls []call) {
	t.Helper()
	source := readUpstream(t)
	require.NotEmpty(t, source.sites)
	require.NotEmpty(t, source.literals)
	hit := make(map[string]bool)
	var texts []string
	for _, c := range calls {
		for _, s := range c.Statements {
			texts = append(texts, squeeze(s.SQL))
			for _, caller := range s.Callers {
				hit[caller] = true
			}
		}
	}
	const advice = "%s of " + inventory.UpstreamPackage + " was never %s: teach arguments.go or queries.go of package inventory the arguments that lead there"
	for _, site := range slices.Sorted(maps.Keys(source.sites)) {
		if !slices.ContainsFunc(source.sites[site], func(line string) bool { return hit[line] }) {
			t.Errorf(advice, site, "reached")
		}
	}
	for _, place := range slices.Sorted(maps.Keys(source.literals)) {
		if !slices.ContainsFunc(texts, source.literals[place].MatchString) {
			t.Errorf(advice, place, "sent")
		}
	}
}
