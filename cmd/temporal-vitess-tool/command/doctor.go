package command

import (
	"database/sql/driver"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// Flags of doctor.
const (
	flagCheck              = "check"
	flagVTGateHTTP         = "vtgate-http"
	flagMaxConns           = "max-conns"
	flagVisibilityMaxConns = "visibility-max-conns"
	flagServices           = "services"
	flagMaxRows            = "max-rows"
	flagHistoryShards      = "history-shards"
	flagReplicas           = "replicas"
	flagFull               = "full"
	flagConnectAddr        = "connect-addr"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look at a running set-up, change nothing, and say what is not as it has to be",
		ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: flagOutput, Value: "text", Usage: "text or json"},
			&cli.StringSliceFlag{Name: flagCheck, Usage: "name of a check to do, instead of all; may be given several times"},
			&cli.StringFlag{Name: flagVTGateHTTP, Usage: "host:port of vtgate's status pages"},
			&cli.StringFlag{Name: flagConnectAddr, Usage: "connectAddr of Temporal's stores, if it is not the endpoint: host:port, several with commas between"},
			&cli.IntFlag{Name: flagMaxConns, Value: 20, Usage: "maxConns of Temporal's main store"},
			&cli.IntFlag{Name: flagVisibilityMaxConns, Value: 10, Usage: "maxConns of Temporal's visibility store"},
			&cli.IntFlag{Name: flagServices, Value: 4, Usage: "number of Temporal services that run: frontends, histories, matchings and workers, each with its own pools"},
			&cli.IntFlag{Name: flagMaxRows, Value: router.DefaultMaxRows, Usage: "the connect attribute vitess_max_rows of Temporal's stores"},
			&cli.IntFlag{Name: flagHistoryShards, Usage: "number of history shards (default: that of the cluster that runs on the keyspaces)"},
			&cli.IntFlag{Name: flagReplicas, Value: 2, Usage: "how many replicas each Vitess shard should have; 0 for a trial"},
			&cli.BoolFlag{Name: flagFull, Usage: "look at all task rows instead of a sample, without a time limit"},
		},
		Before: noArguments,
		Action: examine,
	}
}

func examine(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	t, err := newTarget(c)
	if err != nil {
		return err
	}
	for _, name := range []string{flagMaxConns, flagVisibilityMaxConns, flagServices, flagMaxRows} {
		if c.Int(name) < 1 {
			return fmt.Errorf("--%s has to be 1 or more", name)
		}
	}
	for _, name := range []string{flagHistoryShards, flagReplicas} {
		if c.Int(name) < 0 {
			return fmt.Errorf("--%s has to be 0 or more", name)
		}
	}
	vtgate, bare, err := t.connectors()
	if err != nil {
		return err
	}
	var failed []string
	findings := []doctor.Finding{}
	counts := map[doctor.Status]int{}
	asJSON := c.String(flagOutput) == "json"
	report := func(f doctor.Finding) { printFinding(c.App.Writer, f) }
	if asJSON {
		report = func(f doctor.Finding) { findings = append(findings, f) }
	}
	err = doctor.Run(c.Context, doctor.Config{
		Checks:             c.StringSlice(flagCheck),
		VTGate:             vtgate,
		BareVTGate:         bare,
		VTCtld:             t.vtctld,
		Address:            t.vtgate.ConnectAddr,
		ConnectAddr:        c.String(flagConnectAddr),
		TLS:                t.vtgate.TLS,
		Keyspaces:          t.Keyspaces,
		Profile:            t.Profile,
		VTGateHTTP:         c.String(flagVTGateHTTP),
		MaxConns:           c.Int(flagMaxConns),
		VisibilityMaxConns: c.Int(flagVisibilityMaxConns),
		Services:           c.Int(flagServices),
		MaxRows:            c.Int(flagMaxRows),
		HistoryShards:      c.Int(flagHistoryShards),
		Replicas:           c.Int(flagReplicas),
		Full:               c.Bool(flagFull),
		Now:                time.Now,
	}, func(f doctor.Finding) {
		counts[f.Status]++
		if f.Status == doctor.Fail {
			failed = append(failed, f.Check)
		}
		report(f)
	})
	if err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(c, findings); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.App.Writer, "\npassed %d, warned %d, failed %d, could not be seen %d\n",
			counts[doctor.Pass], counts[doctor.Warn], counts[doctor.Fail], counts[doctor.Skip])
	}
	if len(failed) > 0 {
		return fmt.Errorf("doctor found what breaks Temporal: %s", strings.Join(failed, ", "))
	}
	return nil
}

// connectors connect to vtgate; bare does without the system variables among the connectAttributes, and is nil if there are
// none.
func (t *target) connectors() (vtgate, bare driver.Connector, err error) {
	if vtgate, err = plugin.NewConnector(&t.vtgate, resolver.NewNoopResolver()); err != nil {
		return nil, nil, err
	}
	cfg := t.vtgate
	cfg.ConnectAttributes = map[string]string{}
	for name, value := range t.vtgate.ConnectAttributes {
		dsn := mysql.NewConfig()
		dsn.Params = map[string]string{name: value}
		// The driver leaves those for the server that are not its own.
		if parsed, err := mysql.ParseDSN(dsn.FormatDSN()); err != nil || parsed.Params[name] == "" {
			cfg.ConnectAttributes[name] = value
		}
	}
	if len(cfg.ConnectAttributes) == len(t.vtgate.ConnectAttributes) {
		return vtgate, nil, nil
	}
	bare, err = plugin.NewConnector(&cfg, resolver.NewNoopResolver())
	return vtgate, bare, err
}

// How much of a check is printed: observations, and characters of each, such as those of a statement. --output json has
// all.
const (
	mostLines = 8
	mostText  = 300
)

func printFinding(w io.Writer, f doctor.Finding) {
	fmt.Fprintf(w, "%-4s  %s: %s\n", f.Status, f.Check, f.Title)
	bad := f.Status == doctor.Warn || f.Status == doctor.Fail
	printed := 0
	for _, observation := range f.Found {
		if bad && (observation.Status == doctor.Pass || observation.Status == doctor.Skip) {
			continue
		}
		if printed++; printed <= mostLines {
			fmt.Fprintf(w, "      %s%s\n", shortened(observation.Text), places(observation.Where))
		}
	}
	if printed > mostLines {
		fmt.Fprintf(w, "      and %d more\n", printed-mostLines)
	}
	if bad {
		fmt.Fprintf(w, "      Why: %s\n      Fix: %s\n      See: %s\n", f.Why, f.Fix, f.Docs)
	}
}

func shortened(text string) string {
	if characters := []rune(text); len(characters) > mostText {
		return string(characters[:mostText]) + "…"
	}
	return text
}

// mostPlaces is how many Vitess shards or tablets are printed with what was found there.
const mostPlaces = 4

func places(where []string) string {
	switch {
	case len(where) == 0:
		return ""
	case len(where) > mostPlaces:
		return fmt.Sprintf(" (%s and %d more)", strings.Join(where[:mostPlaces], ", "), len(where)-mostPlaces)
	default:
		return " (" + strings.Join(where, ", ") + ")"
	}
}
