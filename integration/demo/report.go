package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	enumspb "go.temporal.io/api/enums/v1"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// printTable prints lines of equal length below each other: the first column to the left, the numbers to the right.
func printTable(lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for column, text := range line {
			widths[column] = max(widths[column], len(text))
		}
	}
	fmt.Println()
	for _, line := range lines {
		fmt.Printf("%-*s", widths[0], line[0])
		for column, text := range line[1:] {
			fmt.Printf("  %*s", widths[column+1], text)
		}
		fmt.Println()
	}
}

// printVisibility prints how many executions of each type started, and how they ended.
func printVisibility(closed map[kinds.Closed]int) {
	types, statuses := map[string]int{}, map[enumspb.WorkflowExecutionStatus]bool{}
	for execution, count := range closed {
		types[execution.Type] += count
		statuses[execution.Status] = true
	}
	columns := slices.Sorted(maps.Keys(statuses))
	header := []string{"Workflow type", "Started"}
	for _, status := range columns {
		header = append(header, status.String())
	}
	lines := [][]string{header}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		line := []string{name, strconv.Itoa(types[name])}
		for _, status := range columns {
			line = append(line, strconv.Itoa(closed[kinds.Closed{Type: name, Status: status}]))
		}
		lines = append(lines, line)
	}
	printTable(lines)
}

// report prints where the rows are and how the statements went there. It returns an error if one went astray.
func report(ctx context.Context, vitess *testbed.Testbed, temporalServer *server.Server) error {
	rows, err := countRows(ctx, vitess)
	if err != nil {
		return err
	}
	for _, keyspace := range []string{testbed.Main, testbed.Visibility, testbed.Global} {
		printRows(keyspace, rows[keyspace])
	}
	unknown := temporalServer.Statements()["unknown"]
	if err := printRoutes(ctx, vitess, unknown); err != nil {
		return err
	}
	if unknown > 0 {
		return fmt.Errorf("the plugin could not route %d statements", unknown)
	}
	return vitess.CheckRoutes(ctx)
}

// rowCounts has the rows of a keyspace by table and key range.
type rowCounts map[string]map[string]int

// countRows counts in the databases of the Vitess shards, below Vitess. Empty tables are left out.
func countRows(ctx context.Context, vitess *testbed.Testbed) (map[string]rowCounts, error) {
	const tables = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema LIKE 'vt\\_%' AND table_name NOT LIKE 'schema\\_%'"
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User = vitess.MySQL()
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	found, err := db.QueryContext(ctx, tables)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	counts := map[string]rowCounts{}
	for found.Next() {
		var database, table string
		if err := found.Scan(&database, &table); err != nil {
			return nil, err
		}
		var count int
		if err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT COUNT(*) FROM `%s`.`%s`", database, table)).Scan(&count); err != nil {
			return nil, err
		}
		keyspace, keyRange := splitDatabase(database)
		if counts[keyspace] == nil {
			counts[keyspace] = rowCounts{}
		}
		if counts[keyspace][table] == nil {
			counts[keyspace][table] = map[string]int{}
		}
		counts[keyspace][table][keyRange] = count
	}
	return counts, found.Err()
}

// splitDatabase takes vt_<keyspace>_<key range> apart.
func splitDatabase(database string) (keyspace, keyRange string) {
	name := strings.TrimPrefix(database, "vt_")
	end := strings.LastIndexByte(name, '_')
	return name[:end], name[end+1:]
}

func printRows(keyspace string, counts rowCounts) {
	ranges := map[string]bool{}
	for _, byRange := range counts {
		for keyRange := range byRange {
			ranges[keyRange] = true
		}
	}
	columns := slices.Sorted(maps.Keys(ranges))
	lines := [][]string{append([]string{"Rows in keyspace " + keyspace}, columns...)}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		line, total := []string{name}, 0
		for _, keyRange := range columns {
			count := counts[name][keyRange]
			line = append(line, strconv.Itoa(count))
			total += count
		}
		if total > 0 {
			lines = append(lines, line)
		}
	}
	printTable(lines)
}

// printRoutes prints vtgate's counters of the plugin's statements, and how many the plugin could not route.
func printRoutes(ctx context.Context, vitess *testbed.Testbed, unknown int64) error {
	vars, err := vitess.Vars(ctx)
	if err != nil {
		return err
	}
	plans, err := vitess.QueryPlans(ctx)
	if err != nil {
		return err
	}
	var single, scatter uint64
	for _, plan := range plans {
		switch {
		case !strings.Contains(plan.Original, "WORKLOAD_NAME"): // not the plugin's
		case plan.ShardQueries > plan.ExecCount:
			scatter += plan.ExecCount
		default:
			single += plan.ExecCount
		}
	}
	printTable([][]string{
		{"Routes, by vtgate's counters", "Single", "Scatter", "Multi", "Unknown"},
		{"statements", fmt.Sprint(single), fmt.Sprint(scatter), "", fmt.Sprint(unknown)},
		{"transactions", fmt.Sprint(vars.SingleCommits), "", fmt.Sprint(vars.MultiCommits), ""},
	})
	return nil
}
