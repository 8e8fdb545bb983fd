package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/temporal-vitess/temporal-vitess/internal/apply"
	"github.com/temporal-vitess/temporal-vitess/internal/migrate"
)

const (
	flagSource    = "source"
	flagMaxLag    = "max-lag"
	flagCatchUp   = "catch-up"
	flagLockWait  = "lock-wait"
	flagDropData  = "drop-source-tables"
	flagKeepRules = "keep-routing-rules"
	flagSkip      = "skip"
	flagMySQL     = "mysql"
	flagDatabase  = "database"
	flagMySQLUser = "mysql-user"
	flagCell      = "cell"
	flagPScale    = "pscale"
)

// watchNames is how long it is watched who uses which names: servers write a heartbeat every 10 to 15 s.
const watchNames = 16 * time.Second

func migrateCommand() *cli.Command {
	source := &cli.StringSliceFlag{Name: flagSource, Usage: "keyspace that has tables of Temporal's; several with commas between"}
	output := &cli.StringFlag{Name: flagOutput, Value: "text", Usage: "text or json"}
	watch := &cli.BoolFlag{Name: flagWatch, Usage: "go on until all rows are copied; Ctrl-C ends only the watching"}
	skip := &cli.StringSliceFlag{Name: flagSkip, Usage: "name of a check whose problems are meant; several with commas between"}
	vtgateHTTP := &cli.StringSliceFlag{Name: flagVTGateHTTP, Usage: "host:port of a vtgate's status pages; give all vtgates, with commas between"}
	switchFlags := []cli.Flag{
		skip, vtgateHTTP,
		&cli.DurationFlag{Name: flagMaxLag, Value: 5 * time.Second, Usage: "how far the streams may be behind when writes are stopped"},
		&cli.DurationFlag{Name: flagCatchUp, Value: 10 * time.Second, Usage: "how long the streams may take to catch up once writes are stopped"},
		&cli.DurationFlag{Name: flagLockWait, Value: 2 * time.Second, Usage: "how long the switch may wait for transactions that are open, before it gives up"},
	}
	return &cli.Command{
		Name:  "migrate",
		Usage: "move a running cluster's tables into the keyspaces, online and with a way back, by Vitess' MoveTables",
		Description: "Needs --vtctld. Keeps nothing of its own: after whatever has interrupted it, `status` tells where things\n" +
			"are, and the same command goes on.",
		Subcommands: []*cli.Command{
			{
				Name: "attach", Usage: "make a database of a MySQL server a keyspace: say what its vttablet takes and, once that runs, let it serve", ArgsUsage: " ",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: flagSource, Usage: "name that the keyspace gets", Required: true},
					&cli.StringFlag{Name: flagMySQL, Usage: "host:port of the MySQL server, as the vttablet reaches it", Required: true},
					&cli.StringFlag{Name: flagDatabase, Usage: "the database", Required: true},
					&cli.StringFlag{Name: flagMySQLUser, Value: "vitess", Usage: "MySQL's user for the vttablet alone"},
					&cli.StringFlag{Name: flagCell, Usage: "cell of the vttablet, where there are several"},
					output,
				},
				Before: noArguments,
				Action: attachMySQL,
			},
			{
				Name: "plan", Usage: "look whether a migration can begin, how large it is, and which commands it takes; change nothing", ArgsUsage: " ",
				Flags: []cli.Flag{source, output, &cli.StringFlag{
					Name: flagPScale, Usage: "DATABASE/BRANCH at PlanetScale: print pscale's commands; without --vtctld only these, without sizes and checks",
				}},
				Before: noArguments,
				Action: planMigration,
			},
			{
				Name: "start", Usage: "set the keyspaces up and begin to copy; servers go on with what they have", ArgsUsage: " ",
				Flags:  []cli.Flag{source, skip, watch},
				Before: noArguments,
				Action: startMigration,
			},
			{
				Name: "status", Usage: "show where rows and traffic are, whether the way back exists, and what to do next", ArgsUsage: " ",
				Flags:  []cli.Flag{output, watch},
				Before: noArguments,
				Action: showMigration,
			},
			{
				Name: "verify", Usage: "compare all rows of both sides, and look whether range IDs and namespaces follow", ArgsUsage: " ",
				Before: noArguments,
				Action: verifyMigration,
			},
			{
				Name: "switch", Usage: "bring the traffic to the keyspaces; the source follows them from then on", ArgsUsage: " ",
				Flags:  switchFlags,
				Before: noArguments,
				Action: func(c *cli.Context) error { return switchMigration(c, false) },
			},
			{
				Name: "reverse", Usage: "bring the traffic back to the source; the keyspaces follow it again", ArgsUsage: " ",
				Flags:  switchFlags,
				Before: noArguments,
				Action: func(c *cli.Context) error { return switchMigration(c, true) },
			},
			{
				Name: "complete", Usage: "end the migration; there is no way back after it", ArgsUsage: " ",
				Flags:  []cli.Flag{skip, vtgateHTTP, &cli.BoolFlag{Name: flagDropData, Usage: "also drop the source's tables"}},
				Before: noArguments,
				Action: completeMigration,
			},
			{
				Name: "cancel", Usage: "end the migration with the traffic on the source, and empty the keyspaces", ArgsUsage: " ",
				Flags:  []cli.Flag{skip, vtgateHTTP, &cli.BoolFlag{Name: flagKeepRules, Usage: "let the keyspaces' names go on leading to the source"}},
				Before: noArguments,
				Action: cancelMigration,
			},
		},
	}
}

// migration connects. The caller closes.
func migration(c *cli.Context) (*migrate.Migration, *target, func(), error) {
	return migrationFrom(c, c.StringSlice(flagSource), nil)
}

func migrationFrom(c *cli.Context, sources []string, pscale *migrate.PScale) (*migrate.Migration, *target, func(), error) {
	t, err := newTarget(c)
	if err != nil {
		return nil, nil, nil, err
	}
	vitess, err := t.open(c)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := migrate.New(migrate.Config{Vitess: vitess, Keyspaces: t.Keyspaces, Profile: t.Profile, Sources: sources, PScale: pscale})
	if err != nil {
		return nil, nil, nil, errors.Join(err, vitess.Close())
	}
	return m, t, func() { _ = vitess.Close() }, nil
}

// step prints what is about to be done.
func step(c *cli.Context) func(string) {
	return func(text string) { fmt.Fprintln(c.App.ErrWriter, text) }
}

func startMigration(c *cli.Context) error {
	m, t, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	if err := inspect(c, m, migrate.Start); err != nil {
		return err
	}
	states, err := m.State(c.Context)
	if err != nil {
		return err
	}
	if !migrate.Begun(states) {
		if err := setUpTargets(c, t, m); err != nil {
			return err
		}
	}
	if err := m.Start(c.Context, step(c)); err != nil {
		return err
	}
	return showProgress(c, m)
}

// inspect does the checks before a command, prints what they find, and returns an error that names those that stop it.
func inspect(c *cli.Context, m *migrate.Migration, command migrate.Command) error {
	var stopped []string
	err := m.Inspect(c.Context, command, c.StringSlice(flagSkip), checkOptions(c), func(f migrate.Finding) {
		if len(f.Problems) > 0 || f.Skipped {
			printCheck(c.App.ErrWriter, f)
		}
		if len(f.Problems) > 0 {
			stopped = append(stopped, f.Check)
		}
	})
	if err == nil && len(stopped) > 0 {
		err = fmt.Errorf("nothing was changed: these checks stand before migrate %s: %s", command, strings.Join(stopped, ", "))
	}
	return err
}

func checkOptions(c *cli.Context) migrate.CheckOptions {
	return migrate.CheckOptions{
		VTGateHTTP: c.StringSlice(flagVTGateHTTP), Watch: watchNames, MaxLag: c.Duration(flagMaxLag), KeepRules: c.Bool(flagKeepRules),
	}
}

// printCheck prints what a check has found, as doctor does.
func printCheck(w io.Writer, f migrate.Finding) {
	status := "PASS"
	switch {
	case len(f.Problems) > 0:
		status = "FAIL"
	case f.Skipped:
		status = "SKIP"
	}
	fmt.Fprintf(w, "%-4s  %s: %s\n", status, f.Check, f.Title)
	lines := append(f.Problems, f.Notes...)
	for _, line := range lines[:min(mostLines, len(lines))] {
		fmt.Fprintf(w, "      %s\n", shortened(line))
	}
	if len(lines) > mostLines {
		fmt.Fprintf(w, "      and %d more\n", len(lines)-mostLines)
	}
	if len(f.Problems) > 0 {
		fmt.Fprintf(w, "      Why: %s\n      Fix: %s\n", f.Why, f.Fix)
		if !f.Final {
			fmt.Fprintf(w, "      Or, if it is meant: --%s %s\n", flagSkip, f.Check)
		}
	}
}

func attachMySQL(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.String(flagMySQL))
	if err != nil {
		return fmt.Errorf("--%s: %w", flagMySQL, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("--%s: %q is not a port", flagMySQL, port)
	}
	m, _, end, err := migrationFrom(c, []string{c.String(flagSource)}, nil)
	if err != nil {
		return err
	}
	defer end()
	done, err := m.Attach(c.Context, migrate.Attachment{
		Keyspace: c.String(flagSource), Host: host, Port: number, Database: c.String(flagDatabase), User: c.String(flagMySQLUser), Cell: c.String(flagCell),
	}, step(c))
	if err != nil {
		return err
	}
	if c.String(flagOutput) == "json" {
		return printJSON(c, done)
	}
	w := c.App.Writer
	if done.Serving {
		fmt.Fprintf(w, "keyspace %s serves database %s through tablet %s\nNext: migrate plan --%s %s\n", done.Keyspace, done.Database, done.Tablet, flagSource, done.Keyspace)
		return nil
	}
	fmt.Fprintf(w, "No vttablet has joined keyspace %s yet.\n\n1. On the MySQL server, as its administrator:\n\n%s;\n", done.Keyspace, strings.Join(done.SQL, ";\n"))
	fmt.Fprintf(w, "\n2. A vttablet near it, with your flags for the topology, ports and --service-map, and these (CREDENTIALS is a file with %s):\n\nvttablet %s\n",
		done.Credentials, strings.Join(done.Flags, " \\\n  "))
	fmt.Fprintf(w, "\n   Or with vitess-operator:\n\n%s\n3. This command again, which makes the tablet the primary, and waits until it serves.\n", done.Operator)
	return nil
}

func planMigration(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	var pscale *migrate.PScale
	if c.IsSet(flagPScale) {
		database, branch, _ := strings.Cut(c.String(flagPScale), "/")
		if database == "" || branch == "" {
			return fmt.Errorf("--%s: %q is not DATABASE/BRANCH", flagPScale, c.String(flagPScale))
		}
		pscale = &migrate.PScale{Database: database, Branch: branch}
	}
	m, _, end, err := migrationFrom(c, c.StringSlice(flagSource), pscale)
	if err != nil {
		return err
	}
	defer end()
	plan, err := m.Plan(c.Context, checkOptions(c))
	if err != nil {
		return err
	}
	if c.String(flagOutput) == "json" {
		return printJSON(c, plan)
	}
	printPlan(c.App.Writer, plan)
	return nil
}

func printPlan(w io.Writer, plan *migrate.Plan) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	sized := len(plan.Disk) > 0 // which takes a vtctld
	if sized {
		fmt.Fprintln(table, "MOVE\tTABLES\tROWS, ABOUT\tSIZE\tTIME TO COPY, ABOUT\t")
	} else {
		fmt.Fprintln(table, "MOVE\tTABLES\t")
	}
	for _, move := range plan.Moves {
		fmt.Fprintf(table, "%s\t%d\t", move.Move, len(move.Tables))
		if sized {
			fmt.Fprintf(table, "%d\t%s\t%s\t", move.Rows, size(move.Bytes), move.Copy)
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	if sized {
		fmt.Fprintln(w, "\nOn disk, beside what is there:")
	}
	for _, d := range plan.Disk {
		fmt.Fprintf(w, "  %s: %s\n", d.VitessShard, size(d.Bytes))
	}
	fmt.Fprintln(w)
	for _, finding := range plan.Findings {
		printCheck(w, finding)
	}
	fmt.Fprintln(w, "\nWhat this tool's commands do, by hand:")
	for _, step := range plan.Steps {
		fmt.Fprintf(w, "\n# migrate %s: %s\n", step.Command, step.What)
		for _, command := range step.Commands {
			fmt.Fprintln(w, command)
		}
	}
}

// size prints bytes for the reader.
func size(bytes int64) string {
	const unit = 1024
	value, name := float64(bytes)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, name = value/unit, next
	}
	return fmt.Sprintf("%.1f %s", value, name)
}

// setUpTargets does what setup-schema does.
func setUpTargets(c *cli.Context, t *target, m *migrate.Migration) error {
	progress := &progress{out: c.App.ErrWriter, began: time.Now()}
	r := &schemaRun{target: t, cli: c, stores: apply.Stores(), written: map[string]bool{}, runner: &apply.Runner{
		Vitess: m.Vitess, Keyspaces: t.Keyspaces, Strategy: apply.DirectStrategy, Progress: progress.action, Wait: progress.migration,
	}}
	return inTurn(c, m.Vitess, func() error {
		for _, store := range r.stores {
			if err := r.setUp(store); err != nil {
				return err
			}
		}
		return nil
	})
}

func showMigration(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	m, _, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	return showProgress(c, m)
}

// migrationStatus is what migrate status prints as JSON.
type migrationStatus struct {
	Moves  []migrate.State `json:"moves"`
	Issues []string        `json:"issues"`
	Next   string          `json:"next"`
}

// showProgress prints the state once or, with --watch, until all rows are copied.
func showProgress(c *cli.Context, m *migrate.Migration) error {
	for {
		states, err := m.State(c.Context)
		if err != nil {
			return err
		}
		if c.String(flagOutput) == "json" {
			err = printJSON(c, migrationStatus{states, issues(states), migrate.Advice(states)})
		} else {
			printStates(c.App.Writer, states)
		}
		if err != nil || !c.Bool(flagWatch) || copied(states) {
			return err
		}
		select {
		case <-time.After(progressEvery):
		case <-c.Context.Done():
			return nil
		}
	}
}

// copied reports whether no move has rows to copy, or cannot go on with it.
func copied(states []migrate.State) bool {
	for _, state := range states {
		if state.Phase == migrate.Copying && len(state.Troubles()) == 0 {
			return false
		}
	}
	return true
}

func printStates(w io.Writer, states []migrate.State) {
	if len(states) == 0 {
		fmt.Fprintln(w, "no move to these keyspaces is under way")
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MOVE\tPHASE\tTRAFFIC\tROWS COPIED\tLAG\tWAY BACK\t")
	for _, s := range states {
		lag, back := "", ""
		if s.Phase == migrate.Following || s.Phase == migrate.Switched {
			lag = s.Lag.String()
		}
		if s.Traffic == migrate.Target {
			back = "lost"
			if s.WayBack {
				back = "open"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Move, s.Phase, s.Traffic, rows(s), lag, back)
	}
	_ = table.Flush()
	for _, issue := range issues(states) {
		fmt.Fprintln(w, issue)
	}
	fmt.Fprintf(w, "Next: %s\n", migrate.Advice(states))
}

// issues are what is wrong with moves.
func issues(states []migrate.State) []string {
	found := []string{}
	for _, s := range states {
		for _, trouble := range s.Troubles() {
			found = append(found, fmt.Sprintf("%s: %s", s.Move, trouble))
		}
	}
	return found
}

// rows are those copied, of how many while there are more.
func rows(s migrate.State) string {
	if s.Phase != migrate.Copying {
		return fmt.Sprint(s.RowsCopied)
	}
	part := float64(s.RowsCopied) / float64(max(s.RowsTotal, 1))
	const width = 20
	done := int(part * width)
	return fmt.Sprintf("%s%s %d of about %d, %d tables to go", strings.Repeat("█", done), strings.Repeat("░", width-done), s.RowsCopied, s.RowsTotal, len(s.TablesLeft))
}

func verifyMigration(c *cli.Context) error {
	m, _, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	var printed time.Time
	err = m.Verify(c.Context, func(r migrate.Compared) {
		running := r.State == "pending" || r.State == "started" || r.State == "unknown"
		if running && time.Since(printed) < progressEvery {
			return
		}
		printed = time.Now()
		back := ""
		if r.Back {
			back = ", what the way back has written"
		}
		if running {
			fmt.Fprintf(c.App.ErrWriter, "%s%s: %d rows compared, %d of %d tables\n", r.Move, back, r.RowsCompared, r.TablesCompared, r.Tables)
			return
		}
		fmt.Fprintf(c.App.Writer, "%s%s: %s, %d rows compared\n", r.Move, back, r.State, r.RowsCompared)
		for _, line := range append(r.Differs, r.Errors...) {
			fmt.Fprintf(c.App.Writer, "  %s\n", line)
		}
	})
	if err == nil {
		err = m.VerifyRows(c.Context, func(line string) { fmt.Fprintln(c.App.Writer, line) })
	}
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted: the comparison goes on in Vitess, and the same command waits for it")
	}
	return err
}

func switchMigration(c *cli.Context, back bool) error {
	m, _, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	command := migrate.Switch
	if back {
		command = migrate.Reverse
	}
	if err := inspect(c, m, command); err != nil {
		return err
	}
	var lost []string
	err = m.Switch(c.Context, back, migrate.SwitchOptions{
		MaxLag: c.Duration(flagMaxLag), CatchUp: c.Duration(flagCatchUp), LockWait: c.Duration(flagLockWait),
	}, func(s migrate.SwitchResult) {
		side := "target"
		if back {
			side = "source"
		}
		if s.Held > 0 {
			fmt.Fprintf(c.App.Writer, "%s: the traffic is on the %s, a write waited %s at most\n", s.Move, side, s.Held.Round(10*time.Millisecond))
		} else {
			fmt.Fprintf(c.App.Writer, "%s: the traffic is on the %s already\n", s.Move, side)
		}
		if s.WayBack != "" {
			lost = append(lost, fmt.Sprintf("%s: %s", s.Move, s.WayBack))
		}
	})
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("the traffic is where it should be, but the other side does not follow: %s", strings.Join(lost, "; "))
	}
	return err
}

func completeMigration(c *cli.Context) error {
	m, _, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	if err := inspect(c, m, migrate.Complete); err != nil {
		return err
	}
	left, err := m.Complete(c.Context, c.Bool(flagDropData), step(c))
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, "the migration is complete; there is no way back any more\nWhat is left to remove:")
	for _, line := range left {
		fmt.Fprintf(c.App.Writer, "  %s\n", line)
	}
	return nil
}

func cancelMigration(c *cli.Context) error {
	m, _, end, err := migration(c)
	if err != nil {
		return err
	}
	defer end()
	if err := inspect(c, m, migrate.Cancel); err != nil {
		return err
	}
	if err := m.Cancel(c.Context, c.Bool(flagKeepRules), step(c)); err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, "the migration is cancelled: the keyspaces are as setup-schema leaves them, and the source is as it was")
	return nil
}
