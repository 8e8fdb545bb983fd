package command

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	upstream "go.temporal.io/server/tools/common/schema"
	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/internal/planner"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func routingPlanCommand() *cli.Command {
	return &cli.Command{
		Name:      "routing-plan",
		Usage:     "say where the live vtgate sends a statement (of the argument, or else of standard input), and why to several Vitess shards; nothing is executed",
		ArgsUsage: "[statement]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "all statements of a Temporal server with the plugin, instead of one; fails if one goes to several Vitess shards unless on purpose"},
			&cli.BoolFlag{Name: "as-is", Usage: "do not rewrite the statement as the plugin does: tables need their keyspaces"},
			&cli.StringFlag{Name: flagOutput, Value: "text", Usage: "text or json"},
		},
		Action: routingPlan,
	}
}

func routingPlan(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	t, err := newTarget(c)
	if err != nil {
		return err
	}
	if c.Bool("all") {
		if err := noArguments(c); err != nil {
			return err
		}
		return planAll(c, t)
	}
	if c.Args().Len() > 1 {
		return fmt.Errorf("%s takes one statement, but got %q as well: quote it, and flags go before it", c.Command.Name, c.Args().Get(1))
	}
	statement := c.Args().First()
	if statement == "" {
		text, err := io.ReadAll(c.App.Reader)
		if err != nil {
			return err
		}
		statement = string(text)
	}
	return planOne(c, t, strings.TrimRight(strings.TrimSpace(statement), ";"))
}

func planOne(c *cli.Context, t *target, statement string) error {
	if statement == "" {
		return errors.New("no statement: give one as the argument or on standard input, or --all")
	}
	if !c.Bool("as-is") {
		var err error
		if statement, err = t.rewrite(statement); err != nil {
			return err
		}
	}
	vitess, err := t.open(c)
	if err != nil {
		return err
	}
	defer vitess.Close()
	plans, err := planner.New(vitess)
	if err != nil {
		return err
	}
	route, err := plans.Route(c.Context, statement, nil)
	if err != nil {
		return err
	}
	if c.String(flagOutput) == "json" {
		if err := printJSON(c, planner.Planned{Statement: statement, Route: route}); err != nil {
			return err
		}
		return refusal(route)
	}
	fmt.Fprintf(c.App.Writer, "statement      %s\n", statement)
	if err := refusal(route); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "keyspace       %s\n", orNone(route.Keyspace))
	fmt.Fprintf(c.App.Writer, "vindex         %s\n", orNone(route.Vindex))
	fmt.Fprintf(c.App.Writer, "plan           %s\n", route.Plan)
	fmt.Fprintf(c.App.Writer, "Vitess shards  %d of %d\n", route.VitessShards, route.Of)
	if route.Why != "" {
		fmt.Fprintf(c.App.Writer, "why            %s\n", route.Why)
	}
	return nil
}

// refusal is the error of a statement that is refused.
func refusal(route *planner.Route) error {
	if route.Refused {
		return errors.New(route.Why)
	}
	return nil
}

func orNone(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// maxRows is the plugin's limit for the rows of a statement: its option vitess_max_rows, or else its default.
func (t *target) maxRows() (int, error) {
	const option = "vitess_max_rows"
	text, ok := t.vtgate.ConnectAttributes[option]
	if !ok {
		return router.DefaultMaxRows, nil
	}
	rows, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || rows < 1 {
		return 0, fmt.Errorf("--%s: %s is %q, but has to be a number of rows, 1 or more", upstream.CLIOptConnectAttributes, option, text)
	}
	return rows, nil
}

// rewrite returns what the plugin sends in place of a statement. What it does not place is an error.
func (t *target) rewrite(statement string) (string, error) {
	roles, err := storeOf(statement)
	if err != nil {
		return "", err
	}
	maxRows, err := t.maxRows()
	if err != nil {
		return "", err
	}
	config := router.Config{
		Keyspaces: map[vschema.Role]string{}, Profile: t.Profile, MaxRows: maxRows,
		UpstreamQueries: t.vtgate.ConnectAttributes["vitess_visibility_queries"] == "upstream",
	}
	for _, role := range roles {
		config.Keyspaces[role] = t.Keyspaces[role]
	}
	r, err := router.New(config)
	if err != nil {
		return "", err
	}
	plan := r.Plan(statement)
	if plan.Unknown != nil {
		return "", fmt.Errorf("the plugin does not place this statement: %w (--as-is asks vtgate nevertheless)", plan.Unknown)
	}
	return plan.Statement.SQL, nil
}

// storeOf returns the roles of the store that sends a statement: the visibility store if its tables are there only.
func storeOf(statement string) ([]vschema.Role, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, statement)
	}
	for _, role := range []vschema.Role{vschema.Main, vschema.Global, vschema.Visibility} {
		keyspace, err := vschema.Load(role, vschema.ProfileNamespace)
		if err != nil {
			return nil, err
		}
		for _, table := range planner.Tables(parsed) {
			if _, ok := keyspace.Tables[table.Name.String()]; ok && role == vschema.Visibility {
				return []vschema.Role{vschema.Visibility}, nil
			} else if ok {
				return []vschema.Role{vschema.Main, vschema.Global}, nil
			}
		}
	}
	return []vschema.Role{vschema.Main, vschema.Global}, nil
}

func planAll(c *cli.Context, t *target) error {
	calls, err := inventory.Of(t.Keyspaces, t.Profile)
	if err != nil {
		return err
	}
	vitess, err := t.open(c)
	if err != nil {
		return err
	}
	defer vitess.Close()
	plans, err := planner.New(vitess)
	if err != nil {
		return err
	}
	all, err := plans.All(c.Context, calls)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b planner.Planned) int { return strings.Compare(a.Call, b.Call) })
	if c.String(flagOutput) == "json" {
		if err := printJSON(c, all); err != nil {
			return err
		}
	} else if err := printPlans(c, all); err != nil {
		return err
	}
	if faulty := count(all, planner.Planned.Faulty); faulty > 0 {
		return fmt.Errorf("%d of %d statements do not go where they should: look at vschema diff", faulty, len(all))
	}
	return nil
}

func count(all []planner.Planned, is func(planner.Planned) bool) int {
	n := 0
	for _, planned := range all {
		if is(planned) {
			n++
		}
	}
	return n
}

// printPlans prints a line for each way of a call's statements, then those that go to several Vitess shards or nowhere.
func printPlans(c *cli.Context, all []planner.Planned) error {
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Vitess shards\tkeyspace\tvindex\tplan\tcall")
	last := ""
	for _, planned := range all {
		r := planned.Route
		line := fmt.Sprintf("%d of %d\t%s\t%s\t%s\t%s\n", r.VitessShards, r.Of, orNone(r.Keyspace), orNone(r.Vindex), r.Plan, planned.Call)
		if r.Refused {
			line = fmt.Sprintf("refused\t-\t-\t-\t%s\n", planned.Call)
		}
		if line != last { // statements of a call often differ by the number of rows only
			fmt.Fprint(table, line)
		}
		last = line
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, planned := range all {
		if planned.Route.Single() {
			continue
		}
		verdict := "on purpose, as background work or a list of the profile spread"
		if planned.Faulty() {
			verdict = "wrong"
		}
		fmt.Fprintf(c.App.Writer, "\n%s: %s\n  %s\n  %s\n", planned.Call, verdict, planned.Route.Why, planned.Statement)
	}
	single := count(all, func(planned planner.Planned) bool { return planned.Route.Single() })
	_, err := fmt.Fprintf(c.App.Writer, "\n%d statements: %d go to one Vitess shard or an unsharded keyspace, %d to several on purpose, %d wrong\n",
		len(all), single, len(all)-single-count(all, planner.Planned.Faulty), count(all, planner.Planned.Faulty))
	return err
}
