package command

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
	"vitess.io/vitess/go/json2"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/internal/balance"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	flagVitessShards = "vitess-shards"
	flagVSchema      = "vschema"
	flagLive         = "live"
)

func balanceCommand() *cli.Command {
	return &cli.Command{
		Name:      "balance",
		Usage:     "show how evenly history shards spread over Vitess shards, and what would be better",
		ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: flagHistoryShards, Usage: "numHistoryShards of the Temporal cluster", Required: true},
			&cli.StringFlag{Name: flagVitessShards, Usage: "number of Vitess shards of equal key ranges, or their key ranges as in -40,40-80,80-"},
			&cli.StringFlag{Name: flagVSchema, Usage: "file with the VSchema of the main store's keyspace (default: Temporal's, as vschema print has it)"},
			&cli.StringFlag{Name: flagVindexFunction, Usage: "vindex function, such as reverse_bits, xxhash or hash, in place of a VSchema"},
			&cli.BoolFlag{Name: flagLive, Usage: "take the Vitess shards and the VSchema, where they are not given, from the live keyspace (--" + flagKeyspace + ")"},
		},
		Before: noArguments,
		Action: showBalance,
	}
}

// maxHistoryShards bounds the time that it takes; Temporal clusters have some thousands.
const maxHistoryShards = 1 << 20

func showBalance(c *cli.Context) error {
	historyShards := c.Int(flagHistoryShards)
	if historyShards < 1 || historyShards > maxHistoryShards {
		return fmt.Errorf("--%s: %d is not between 1 and %d", flagHistoryShards, historyShards, maxHistoryShards)
	}
	if c.IsSet(flagVSchema) && c.IsSet(flagVindexFunction) {
		return fmt.Errorf("--%s and --%s exclude each other", flagVSchema, flagVindexFunction)
	}
	vindex, shards, err := spreadOf(c)
	if err != nil {
		return err
	}
	b, err := balance.Compute(vindex, historyShards, shards)
	if err != nil {
		return err
	}
	return printBalance(c, b)
}

// spreadOf returns the vindex and the Vitess shards, from the flags or from the live keyspace.
func spreadOf(c *cli.Context) (*vschemapb.Vindex, []balance.Shard, error) {
	vindex, err := givenVindex(c)
	if err != nil {
		return nil, nil, err
	}
	shards, err := givenShards(c.String(flagVitessShards))
	if err != nil {
		return nil, nil, fmt.Errorf("--%s: %w", flagVitessShards, err)
	}
	if c.Bool(flagLive) && (vindex == nil || shards == nil) {
		return liveSpread(c, vindex, shards)
	}
	if shards == nil {
		return nil, nil, fmt.Errorf("--%s is missing: give it, or --%s", flagVitessShards, flagLive)
	}
	if vindex == nil {
		wanted, err := compare.Wanted(vschema.Main, "", "")
		if err != nil {
			return nil, nil, err
		}
		if vindex, err = balance.OfHistoryShards(wanted); err != nil {
			return nil, nil, err
		}
	}
	return vindex, shards, nil
}

// givenVindex is that of the flags, nil if they have none.
func givenVindex(c *cli.Context) (*vschemapb.Vindex, error) {
	if function := c.String(flagVindexFunction); function != "" {
		return &vschemapb.Vindex{Type: function}, nil
	}
	file := c.String(flagVSchema)
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flagVSchema, err)
	}
	var keyspace vschemapb.Keyspace
	if err := json2.UnmarshalPB(text, &keyspace); err != nil {
		return nil, fmt.Errorf("--%s: %s is not the VSchema of a keyspace: %w", flagVSchema, file, err)
	}
	vindex, err := balance.OfHistoryShards(&keyspace)
	if err != nil {
		return nil, fmt.Errorf("--%s: %s: %w", flagVSchema, file, err)
	}
	return vindex, nil
}

// givenShards are those of the flag, nil if it is empty.
func givenShards(text string) ([]balance.Shard, error) {
	if text == "" {
		return nil, nil
	}
	if strings.Contains(text, "-") {
		return balance.Named(strings.Split(text, ",")...)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a number nor key ranges such as -40,40-80,80-", text)
	}
	return balance.Even(n)
}

// liveSpread takes what is not given from the live keyspace.
func liveSpread(c *cli.Context, vindex *vschemapb.Vindex, shards []balance.Shard) (*vschemapb.Vindex, []balance.Shard, error) {
	t, err := newTarget(c)
	if err != nil {
		return nil, nil, err
	}
	vitess, err := t.open(c)
	if err != nil {
		return nil, nil, err
	}
	defer vitess.Close()
	keyspace := t.Keyspaces[vschema.Main]
	if shards == nil {
		names, err := vitess.VitessShards(c.Context, keyspace)
		if err != nil {
			return nil, nil, err
		}
		if shards, err = balance.Named(names...); err != nil {
			return nil, nil, fmt.Errorf("keyspace %s: %w", keyspace, err)
		}
	}
	if vindex == nil {
		served, err := vitess.VSchema(c.Context, keyspace)
		if err != nil {
			return nil, nil, err
		}
		if vindex, err = balance.OfHistoryShards(served); err != nil {
			return nil, nil, fmt.Errorf("keyspace %s: %w", keyspace, err)
		}
	}
	return vindex, shards, nil
}

// barWidth is the length of the fullest Vitess shard's bar.
const barWidth = 40

func printBalance(c *cli.Context, b *balance.Balance) error {
	fmt.Fprintf(c.App.Writer, "%d history shards on %d Vitess shards by %s(shard_id)\n\n", b.HistoryShards, len(b.Shards), b.Function)
	mean := float64(b.HistoryShards) / float64(len(b.Shards))
	fullest := b.FullestOverMean()
	table := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Vitess shard\thistory shards\tover mean\t")
	for i, shard := range b.Shards {
		overMean := float64(b.Counts[i]) / mean
		fmt.Fprintf(table, "%s\t%d\t%.3f\t%s\n", shard.Name, b.Counts[i], overMean, strings.Repeat("█", int(overMean/fullest*barWidth+0.5)))
	}
	advice := b.Advice()
	if len(advice) == 0 {
		advice = []string{"Nothing to improve."}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.App.Writer, "\nThe fullest Vitess shard has %.3f times the mean.\n%s\n", fullest, strings.Join(advice, "\n"))
	return err
}
