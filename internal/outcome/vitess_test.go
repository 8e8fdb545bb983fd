package outcome

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vitessError is an error in Vitess' source that has a constant code and text. A part of the text that is not constant
// is an x.
type vitessError struct {
	file string // below go/ of Vitess' module
	line int
	code string
	text string
}

// vitessFolders are those of Vitess' source with the errors that a client of vtgate can meet.
var vitessFolders = []string{
	"pools", "vt/discovery", "vt/srvtopo", "vt/vterrors", "vt/vtgate", "vt/vttablet/grpctabletconn",
	"vt/vttablet/queryservice", "vt/vttablet/tabletconn", "vt/vttablet/tabletserver",
}

// vitessCodes are the codes of vitessErrors. The other codes are those of an answer to the statement itself.
var vitessCodes = []string{"UNAVAILABLE", "CLUSTER_EVENT", "ABORTED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}

// vitessErrorCalls has, for each function that makes an error, the places of the code and of the text (which may be a
// format) in its arguments; an error of vterrors/code.go has its number in front.
var vitessErrorCalls = map[string]struct{ code, text int }{
	"vterrors.New":               {0, 1},
	"vterrors.Errorf":            {0, 1},
	"vterrors.NewError":          {0, 2},
	"vterrors.NewErrorf":         {0, 2},
	"vterrors.errorWithState":    {1, 3},
	"vterrors.errorWithoutState": {1, 2},
}

// vitessErrors returns the errors in the source of the version of Vitess that go.mod has. It fails where the source
// has none in a folder, so that a move of the source is noticed.
func vitessErrors(t *testing.T) []vitessError {
	t.Helper()
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "vitess.io/vitess").Output()
	require.NoError(t, err)
	source := vitessSource{files: token.NewFileSet(), constants: map[string]ast.Expr{}}
	root := filepath.Join(strings.TrimSpace(string(output)), "go")
	parsed := map[string]*ast.File{}
	var paths []string
	for _, folder := range vitessFolders {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && entry.Name() == "benchmarking" {
				return fs.SkipDir
			}
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(source.files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			parsed[path], paths = file, append(paths, path)
			source.addConstants(file)
			return nil
		}), folder)
	}
	var result []vitessError
	for _, path := range paths {
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		for _, found := range source.errors(parsed[path]) {
			found.file = filepath.ToSlash(name)
			result = append(result, found)
		}
	}
	for _, folder := range []string{"pools", "vt/discovery", "vt/vterrors", "vt/vtgate", "vt/vttablet/tabletconn", "vt/vttablet/tabletserver"} {
		require.True(t, slices.ContainsFunc(result, func(found vitessError) bool {
			return strings.HasPrefix(found.file, folder+"/")
		}), "no errors in %s", folder)
	}
	return result
}

// vitessSource has what is known of the parsed files. Its names are those of a package and of something in it.
type vitessSource struct {
	files     *token.FileSet
	constants map[string]ast.Expr
}

// addConstants adds a file's constants.
func (source vitessSource) addConstants(file *ast.File) {
	for _, declaration := range file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST {
			continue
		}
		for _, spec := range general.Specs {
			constant := spec.(*ast.ValueSpec)
			for i, value := range constant.Values {
				source.constants[file.Name.Name+"."+constant.Names[i].Name] = value
			}
		}
	}
}

// errors returns a file's errors.
func (source vitessSource) errors(file *ast.File) []vitessError {
	var result []vitessError
	for _, declaration := range file.Decls {
		scope := vitessScope{source, file.Name.Name, map[string]ast.Expr{}}
		ast.Inspect(declaration, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.AssignStmt: // a variable that is set again has no constant text
				for i, variable := range node.Lhs {
					if name, ok := variable.(*ast.Ident); ok {
						delete(scope.variables, name.Name)
						if node.Tok == token.DEFINE && len(node.Lhs) == len(node.Rhs) {
							scope.variables[name.Name] = node.Rhs[i]
						}
					}
				}
			case *ast.CallExpr:
				if code, text, ok := scope.error(node); ok {
					result = append(result, vitessError{line: source.files.Position(node.Pos()).Line, code: code, text: text})
				}
			}
			return true
		})
	}
	return result
}

// vitessScope is the inside of a declaration.
type vitessScope struct {
	vitessSource
	packageName string
	variables   map[string]ast.Expr
}

// error returns the code and the text of the error that a call makes.
func (scope vitessScope) error(call *ast.CallExpr) (code, text string, ok bool) {
	arguments, ok := vitessErrorCalls[scope.name(call.Fun)]
	if !ok || len(call.Args) <= arguments.text {
		return "", "", false
	}
	_, code, ok = strings.Cut(scope.name(call.Args[arguments.code]), ".Code_")
	if !ok || !slices.Contains(vitessCodes, code) {
		return "", "", false
	}
	if arguments.code > 0 { // vterrors/code.go
		number, _ := scope.text(call.Args[0], 0)
		text, ok = scope.format(call.Args[arguments.text:arguments.text+1], 0)
		return code, number + ": " + text, ok
	}
	text, ok = scope.format(call.Args[arguments.text:], 0)
	return code, text, ok
}

// name returns the name of an expression with its package's, or "".
func (scope vitessScope) name(expression ast.Expr) string {
	switch expression := expression.(type) {
	case *ast.Ident:
		return scope.packageName + "." + expression.Name
	case *ast.SelectorExpr:
		if qualifier, ok := expression.X.(*ast.Ident); ok {
			return qualifier.Name + "." + expression.Sel.Name
		}
	}
	return ""
}

// text returns the text of an expression, if it is constant.
func (scope vitessScope) text(expression ast.Expr, depth int) (string, bool) {
	if depth > 10 { // a variable that is made of itself
		return "", false
	}
	switch expression := expression.(type) {
	case *ast.ParenExpr:
		return scope.text(expression.X, depth+1)
	case *ast.BasicLit:
		text, err := strconv.Unquote(expression.Value)
		return text, err == nil && expression.Kind == token.STRING
	case *ast.BinaryExpr:
		left, leftOK := scope.text(expression.X, depth+1)
		right, rightOK := scope.text(expression.Y, depth+1)
		if !leftOK {
			left = "x"
		}
		if !rightOK {
			right = "x"
		}
		return left + right, expression.Op == token.ADD && (leftOK || rightOK)
	case *ast.CallExpr:
		if scope.name(expression.Fun) == "fmt.Sprintf" {
			return scope.format(expression.Args, depth+1)
		}
	case *ast.Ident:
		if value, ok := scope.variables[expression.Name]; ok {
			return scope.text(value, depth+1)
		}
	}
	if value, ok := scope.constants[scope.name(expression)]; ok {
		return scope.text(value, depth+1)
	}
	return "", false
}

// vitessVerb is a verb of a format.
var vitessVerb = regexp.MustCompile(`%[-+# 0]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]`)

// format returns the text of a format and its arguments, if the format is constant.
func (scope vitessScope) format(arguments []ast.Expr, depth int) (string, bool) {
	format, ok := scope.text(arguments[0], depth)
	if !ok {
		return "", false
	}
	next := 0
	return vitessVerb.ReplaceAllStringFunc(format, func(verb string) string {
		if strings.HasSuffix(verb, "%") {
			return "%"
		}
		next++
		if next < len(arguments) {
			if text, ok := scope.text(arguments[next], depth+1); ok {
				return text
			}
		}
		return "x"
	}), true
}
