package routing

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const goldenFile = "testdata/statements.golden"

const goldenHeader = `# Where each SQL statement of a Temporal server goes in Vitess, found by driving upstream's plugin ("stock") and this
# project's ("vitess") over vtgate's planner; see the package documentation. Written by
#
#	go test ./integration/routing -update
#
# A block is a method of sqlplugin.DB or a query of the visibility store, then each statement that it sends, without
# keyspaces and with ? for values (rows of a batch after the first are left out), then its routes: who sends it and, for
# the visibility store, with which VSchema profile; keyspace; sharding column; vtgate's plan; the Vitess shards that it
# reached out of 256. "rewritten" is the plugin's text where it differs by more than keyspaces and directives.
`

// golden builds the golden file's blocks in the order in which statements are added.
type golden struct {
	names  []string
	blocks map[string]*block
}

// block is all that one method sends.
type block struct {
	texts  []string
	routes map[string][]string
}

// add adds a line about a statement, once.
func (g *golden) add(name, text, line string) {
	if g.blocks == nil {
		g.blocks = make(map[string]*block)
	}
	b, ok := g.blocks[name]
	if !ok {
		b = &block{routes: make(map[string][]string)}
		g.blocks[name] = b
		g.names = append(g.names, name)
	}
	if _, ok := b.routes[text]; !ok {
		b.texts = append(b.texts, text)
	}
	if !slices.Contains(b.routes[text], line) {
		b.routes[text] = append(b.routes[text], line)
	}
}

// addCall adds the statements of a call of upstream's plugin, with those of the same call of this project's.
func (g *golden) addCall(v *inProcessVTGate, profile vschema.Profile, stock, vitess call) {
	paired := len(stock.Statements) == len(vitess.Statements)
	for i, s := range stock.Statements {
		text := canonical(s.SQL)
		g.add(stock.Name, text, routeLine("stock", stock.Kind, profile, v.route(s), s.SQL))
		if !paired {
			continue
		}
		s := vitess.Statements[i]
		g.add(stock.Name, text, routeLine("vitess", stock.Kind, profile, v.route(s), s.SQL))
		if rewritten := canonical(s.SQL); rewritten != text {
			g.add(stock.Name, text, fmt.Sprintf("%-16s %s", "rewritten", rewritten))
		}
	}
	if paired {
		return
	}
	for _, s := range vitess.Statements {
		g.add(stock.Name, canonical(s.SQL), routeLine("vitess", stock.Kind, profile, v.route(s), s.SQL))
	}
}

func (g *golden) String() string {
	var s strings.Builder
	s.WriteString(goldenHeader)
	slices.Sort(g.names)
	for _, name := range g.names {
		fmt.Fprintf(&s, "\n%s\n", name)
		for _, text := range g.blocks[name].texts {
			fmt.Fprintf(&s, "  %s\n", text)
			for _, line := range g.blocks[name].routes[text] {
				fmt.Fprintf(&s, "    %s\n", line)
			}
		}
	}
	return s.String()
}

// routeLine is how the golden file shows a route.
func routeLine(sender string, kind sqlplugin.DbKind, profile vschema.Profile, r route, query string) string {
	if kind == sqlplugin.DbKindVisibility {
		sender += "/" + string(profile)
	}
	if r.Refused != "" {
		return fmt.Sprintf("%-16s refused: %s", sender, r.Refused)
	}
	if len(r.Shards) == 0 {
		return fmt.Sprintf("%-16s no Vitess shard", sender)
	}
	column := r.Column
	if column == "" {
		column = "-"
	}
	line := fmt.Sprintf("%-16s %-19s %-12s %-18s %d %s", sender, r.Keyspace, column, r.Plan, len(r.Shards), directives(query))
	return strings.TrimSpace(line)
}

// compareGolden fails with what is new, gone or different, and what to do about it.
func compareGolden(t *testing.T, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(goldenFile, []byte(got), 0o644))
		return
	}
	data, err := os.ReadFile(goldenFile)
	require.NoError(t, err, "write it with: go test ./integration/routing -update")
	if string(data) == got {
		return
	}
	want, have := blocksOf(string(data)), blocksOf(got)
	var changes strings.Builder
	for _, b := range have {
		if !slices.Contains(want, b) {
			fmt.Fprintf(&changes, "\nnew or changed:\n%s\n", b)
		}
	}
	for _, b := range want {
		if !slices.Contains(have, b) {
			fmt.Fprintf(&changes, "\nwas in %s:\n%s\n", goldenFile, b)
		}
	}
	t.Errorf(`Temporal's statements or their routes are not those of %s:
%s
If Temporal, Vitess, the VSchema or the plugin changed, run
	go test ./integration/routing -update
and read the diff. Every "vitess" line must name an unsharded keyspace or end in 1 Vitess shard. A statement that does
not needs a table in the JSON files of package vschema, a rule in internal/router/rules.go, or a method of the plugin's
DB that gives it the sharding column. Commit the golden file with the change.`, goldenFile, changes.String())
}

// blocksOf splits a golden file into one text per statement, each under its method.
func blocksOf(file string) []string {
	var statements []string
	var name string
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !strings.HasPrefix(line, " "):
			name = line
		case !strings.HasPrefix(line, "    "):
			statements = append(statements, name+"\n"+line)
		default:
			statements[len(statements)-1] += "\n" + line
		}
	}
	return statements
}
