package router

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the rules of waits.go say of upstream's functions is true of the code that somebody has read. These tests fail
// when that code changes, and name what relies on it.

var update = flag.Bool("update", false, "write testdata/upstream.golden")

const upstreamGolden = "testdata/upstream.golden"

// reliance is something of this project that is right only as long as functions of upstream are as they are.
type reliance struct {
	who string
	// functions as waits.go writes them.
	functions string
	// what is relied on.
	what string
}

// reliances returns the rules of waits.go, and who else relies on functions of upstream.
func reliances() []reliance {
	var all []reliance
	for _, rule := range waitRules {
		var verbs []string
		for i, verb := range []string{"INSERT", "UPDATE", "DELETE"} { // as writeKind has them
			if rule.kinds&(1<<i) != 0 {
				verbs = append(verbs, verb)
			}
		}
		who := fmt.Sprintf("the rule of waits.go for %s of %s", strings.Join(verbs, " and "), rule.tables)
		all = append(all, reliance{who, rule.upstream, rule.treatment})
	}
	return append(all, []reliance{
		{
			"all rules of waits.go", "SqlStore.txExecute sqlExecutionStore.txExecuteShardLocked",
			"an error of any statement of a transaction, COMMIT too, fails the transaction",
		},
		{
			"all rules of waits.go",
			"readLockShard lockShard lockCurrentExecutionIfExists lockExecution assertCurrentExecution assertNotCurrentExecution lockTaskQueue",
			"what waits travels with these SELECTs: an error of theirs other than sql.ErrNoRows fails the transaction",
		},
		{
			"all rules of waits.go, and transaction.fail of internal/conn", "sqlExecutionStore.createExecution mysql.db.IsDupEntryError",
			"a duplicate key means something for executions, in whose packet others wait; only a bare *mysql.MySQLError is taken for one",
		},
		{
			"plugin/workflow.go",
			"sqlExecutionStore.GetWorkflowExecution getActivityInfoMap getTimerInfoMap getChildExecutionInfoMap getRequestCancelInfoMap " +
				"getSignalInfoMap getBufferedEvents getChasmNodeMap getSignalsRequested",
			"these nine queries, their order, that all have the same context and key, and that nothing else sends them outside of a transaction",
		},
		{
			"plugin/history.go",
			"sqlExecutionStore.CreateWorkflowExecution sqlExecutionStore.UpdateWorkflowExecution sqlExecutionStore.ConflictResolveWorkflowExecution " +
				"sqlExecutionStore.AppendHistoryNodes sqlExecutionStore.txExecuteShardLocked SqlStore.txExecute",
			"what the first three append is followed, in the same goroutine and with the same context, by their transaction or by an error; to a new " +
				"branch it is appended by a transaction of two INSERTs, whose counts have to be 1 or 2",
		},
		{
			"internal/conn/owners.go", "readLockShard lockShard lockTaskQueue SqlStore.txExecute",
			"a range ID that is not the caller's ends the transaction without COMMIT; the error of a later statement, or of COMMIT, is Unavailable, which is tried again",
		},
		{
			"internal/conn/ahead.go",
			"assertRunIDAndUpdateCurrentExecution assertCurrentExecution assertNotCurrentExecution lockAndCheckExecution lockExecution " +
				"mysql.db.LockCurrentExecutions mysql.db.WriteLockExecutions",
			"the row of the current execution is locked before that of any run",
		},
		{
			"internal/conn",
			"sqlExecutionStore.AppendHistoryNodes sqlExecutionStore.ReadHistoryBranch sqlExecutionStore.GetHistoryTreeContainingBranch",
			"they know a duplicate key, the end of a context and sql.ErrNoRows only as the bare error, which it has to return",
		},
		{
			"internal/conn", "sqlplugin.DatabaseHandle.ConvertError mysql.isConnNeedsRefreshError",
			"the errors on which they replace the whole pool; ours must not be among them, nor unwrap to one",
		},
		{
			"plugin/history_tree.go", "sqlExecutionStore.GetAllHistoryTreeBranches mysql.db.PaginateBranchesFromHistoryTree",
			"the order of the branches, and that fewer than asked for end the list",
		},
		{
			"plugin/subqueue_tasks.go",
			"sqlTaskManagerV1.CreateTasks sqlTaskManagerV1.GetTasks sqlTaskManagerV1.CompleteTasksLessThan " +
				"sqlTaskManagerV2.CreateTasks sqlTaskManagerV2.GetTasks sqlTaskManagerV2.CompleteTasksLessThan " +
				"mysql.db.SelectFromTasks mysql.db.DeleteFromTasks mysql.db.SelectFromTasksV2 mysql.db.DeleteFromTasksV2",
			"what they read and delete, in which order, and what they make of row counts: reading both places does the same with two range hashes",
		},
		{
			"internal/taskqueue", "taskQueueId taskQueueIdAndHash",
			"the format of a task queue's id",
		},
	}...)
}

// watched are the names whose users in upstream's code are pinned whether something here names them or not: a new one
// may break what is relied on as well as a changed one.
var watched = []string{
	"Tx", "BeginTx", "BeginTxx", "IsDupEntryError", "AppendHistoryNodes", "InsertIntoHistoryNode", "InsertIntoHistoryTree",
	"SelectFromExecutions", "SelectAllFromActivityInfoMaps", "SelectAllFromTimerInfoMaps", "SelectAllFromChildExecutionInfoMaps",
	"SelectAllFromRequestCancelInfoMaps", "SelectAllFromSignalInfoMaps", "SelectFromBufferedEvents", "SelectAllFromChasmNodeMaps",
	"SelectAllFromSignalsRequestedSets",
	"getActivityInfoMap", "getTimerInfoMap", "getChildExecutionInfoMap", "getRequestCancelInfoMap", "getSignalInfoMap",
	"getBufferedEvents", "getChasmNodeMap", "getSignalsRequested",
}

// upstreamPackages are the folders of upstream's packages, and the prefixes of their functions' names.
var upstreamPackages = []struct{ folder, prefix string }{
	{"common/persistence/sql", ""},
	{"common/persistence/sql/sqlplugin", "sqlplugin."},
	{"common/persistence/sql/sqlplugin/mysql", "mysql."},
}

// upstreamFunction is a function's source.
type upstreamFunction struct {
	// file is relative to upstream's root.
	file string
	// hash of the code, whatever its comments and layout.
	hash string
	// watched says that it uses one of the names above.
	watched bool
}

type upstreamModule struct{ Dir, Version string }

func upstream(t *testing.T) upstreamModule {
	t.Helper()
	output, err := exec.Command("go", "list", "-m", "-json", "go.temporal.io/server").Output()
	require.NoError(t, err)
	var module upstreamModule
	require.NoError(t, json.Unmarshal(output, &module))
	return module
}

// functionsOf parses the functions of upstream's packages, by their names as waits.go writes them.
func functionsOf(t *testing.T, module upstreamModule) map[string]upstreamFunction {
	t.Helper()
	functions := map[string]upstreamFunction{}
	for _, p := range upstreamPackages {
		files, err := filepath.Glob(filepath.Join(module.Dir, p.folder, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, p.folder)
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution) // without comments
			require.NoError(t, err)
			for _, declaration := range file.Decls {
				function, ok := declaration.(*ast.FuncDecl)
				if !ok || function.Name.Name == "init" || function.Name.Name == "_" {
					continue
				}
				name := p.prefix + receiver(function) + function.Name.Name
				require.NotContains(t, functions, name)
				functions[name] = upstreamFunction{
					file:    filepath.Join(p.folder, filepath.Base(path)),
					hash:    hash(t, function),
					watched: usesWatched(function),
				}
			}
		}
	}
	return functions
}

// receiver returns the type of a method and a dot, "" for a function.
func receiver(function *ast.FuncDecl) string {
	if function.Recv == nil {
		return ""
	}
	name := ""
	ast.Inspect(function.Recv.List[0].Type, func(node ast.Node) bool {
		if identifier, ok := node.(*ast.Ident); ok && name == "" { // what follows are type parameters
			name = identifier.Name + "."
		}
		return name == ""
	})
	return name
}

func hash(t *testing.T, function *ast.FuncDecl) string {
	t.Helper()
	var code strings.Builder
	// Printed with the positions of no file, the layout is the printer's own.
	require.NoError(t, printer.Fprint(&code, token.NewFileSet(), function))
	return fmt.Sprintf("%x", sha256.Sum256([]byte(code.String())))[:16]
}

func usesWatched(function *ast.FuncDecl) bool {
	found := false
	ast.Inspect(function, func(node ast.Node) bool {
		identifier, ok := node.(*ast.Ident)
		found = found || ok && slices.Contains(watched, identifier.Name)
		return !found
	})
	return found
}

func TestUpstreamIsWhatTheRulesSay(t *testing.T) {
	module := upstream(t)
	functions := functionsOf(t, module)
	relying := map[string][]reliance{}
	for _, r := range reliances() {
		for _, name := range strings.Fields(r.functions) {
			relying[name] = append(relying[name], r)
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		if functions[name].watched || relying[name] != nil {
			names = append(names, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(relying)) {
		if _, ok := functions[name]; !ok {
			t.Errorf("upstream has no function %s in %s. Find what does its work now, and see whether this still holds:\n%s",
				name, module.Version, sentences(relying[name]))
		}
	}
	if t.Failed() {
		return
	}
	if *update {
		writeUpstreamGolden(t, module, functions, names)
		return
	}

	version, hashes := readUpstreamGolden(t)
	fails := func(name, what string) {
		t.Errorf("upstream's function %s %s\n%s", name, what, sentences(relying[name]))
	}
	for _, name := range names {
		function := functions[name]
		switch read, ok := hashes[name]; {
		case !ok:
			fails(name, fmt.Sprintf("(%s) is not in %s", function.file, upstreamGolden))
		case read != function.hash:
			fails(name, fmt.Sprintf("is not what it was in %s; see\n\tgo mod download go.temporal.io/server@%s\n\tdiff -u %s %s", version, version,
				filepath.Join(strings.TrimSuffix(module.Dir, module.Version)+version, function.file), filepath.Join(module.Dir, function.file)))
		}
		delete(hashes, name)
	}
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		t.Errorf("%s has %s, but upstream has it no more, or nothing relies on it", upstreamGolden, name)
	}
	if t.Failed() {
		t.Logf("Read these functions again. Once what relies on them is right (adapt it, or the rule), run\n" +
			"\tgo test ./internal/router -run TestUpstream -update\nand commit the golden file with the change.")
	}
}

// sentences says what relies on a function.
func sentences(relying []reliance) string {
	if len(relying) == 0 {
		return "Nothing names it, but it works in a transaction, interprets duplicate keys, or reads a workflow: see whether a " +
			"rule of waits.go has its writes, or plugin/workflow.go its reads, and name it there."
	}
	var text strings.Builder
	for _, r := range relying {
		fmt.Fprintf(&text, "Relied on by %s: %s\n", r.who, r.what)
	}
	return text.String()
}

func writeUpstreamGolden(t *testing.T, module upstreamModule, functions map[string]upstreamFunction, names []string) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "# Hashes of functions of upstream, as somebody has read them in go.temporal.io/server %s; see upstream_test.go.\n", module.Version)
	for _, name := range names {
		fmt.Fprintf(&text, "%s %s\n", functions[name].hash, name)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(upstreamGolden), 0o755))
	require.NoError(t, os.WriteFile(upstreamGolden, []byte(text.String()), 0o644))
}

func readUpstreamGolden(t *testing.T) (version string, hashes map[string]string) {
	t.Helper()
	data, err := os.ReadFile(upstreamGolden)
	require.NoError(t, err)
	hashes = map[string]string{}
	for line := range strings.Lines(string(data)) {
		if first, after, ok := strings.Cut(line, "go.temporal.io/server "); ok && strings.HasPrefix(first, "#") {
			version, _, _ = strings.Cut(after, ";")
			continue
		}
		hash, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		hashes[name] = hash
	}
	return version, hashes
}
