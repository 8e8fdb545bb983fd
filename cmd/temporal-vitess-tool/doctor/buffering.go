package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// patience is how long those who call Temporal wait: the default of its SDKs. A statement that vtgate holds for as long
// answers nobody, and keeps its connection from others meanwhile.
const patience = 10 * time.Second

func checkBuffering(ctx context.Context, e *examination, seen *observations) error {
	if e.VTGateHTTP == "" {
		seen.skip("only vtgate's status page tells: give --vtgate-http")
		return nil
	}
	vars, err := readDebugVars(ctx, e.VTGateHTTP)
	if err != nil {
		seen.skip("--vtgate-http: %v", err)
		return nil
	}
	var commandLine []string
	if err := json.Unmarshal(vars["cmdline"], &commandLine); err != nil {
		return fmt.Errorf("cmdline in vtgate's /debug/vars: %w", err)
	}
	b, err := readBuffering(commandLine)
	if err != nil {
		return fmt.Errorf("vtgate's command line: %w", err)
	}
	b.judge(e.homes, e.connections(e.homes...), seen)
	return nil
}

// buffering is what a vtgate's flags say of it.
type buffering struct {
	on bool
	// window is how long a statement is held at most, and longest how long statements of one Vitess shard are: from then on
	// they fail at once, and are held again once pause has passed.
	window, longest, pause time.Duration
	// size is how many statements are held at most, of all Vitess shards.
	size int
	// only are the keyspaces, and Vitess shards such as temporal/-80, to which it is limited; empty for all.
	only []string
}

// readBuffering reads the flags of a vtgate, whose defaults are those of Vitess 24 (go/vt/vtgate/buffer/flags.go). Of a flag
// that is given twice, the last counts.
func readBuffering(commandLine []string) (buffering, error) {
	var b buffering
	flags := pflag.NewFlagSet("vtgate", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	flags.BoolVar(&b.on, "enable-buffer", false, "")
	flags.DurationVar(&b.window, "buffer-window", 10*time.Second, "")
	flags.DurationVar(&b.longest, "buffer-max-failover-duration", 20*time.Second, "")
	flags.DurationVar(&b.pause, "buffer-min-time-between-failovers", time.Minute, "")
	flags.IntVar(&b.size, "buffer-size", 1000, "")
	flags.StringSliceVar(&b.only, "buffer-keyspace-shards", nil, "")
	var arguments []string
	for _, argument := range commandLine[min(1, len(commandLine)):] {
		if len(argument) > 2 && argument[0] == '-' && argument[1] != '-' {
			argument = "-" + argument // as Go's own flags are written
		}
		arguments = append(arguments, argument)
	}
	return b, flags.Parse(arguments)
}

// judge says what is not as it should be for keyspaces and that many connections of Temporal's.
func (b buffering) judge(homes []*home, connections int, seen *observations) {
	if !b.on {
		seen.warn("vtgate's command line has no --enable-buffer")
		return
	}
	if b.window >= patience {
		seen.warn("--buffer-window is %s: who waits for a statement that is held so long has given up (after %s)", b.window, patience)
	}
	if b.longest > patience {
		seen.warn("--buffer-max-failover-duration is %s: buffering that a read-only error began ends only then, also where the same mysqld soon takes writes again", b.longest)
	}
	if b.pause < b.longest {
		seen.warn("--buffer-min-time-between-failovers is %s, less than --buffer-max-failover-duration (%s): a Vitess shard that stays away is held more often than not", b.pause, b.longest)
	}
	if b.size < connections {
		seen.warn("--buffer-size is %d, fewer than Temporal's %d connections: the oldest statements fail for new ones", b.size, connections)
	}
	for _, h := range homes {
		for _, vitessShard := range h.vitessShards {
			if name := (place{h, vitessShard}).String(); len(b.only) > 0 && !slices.Contains(b.only, h.name) && !slices.Contains(b.only, name) {
				seen.at(name).warn("--buffer-keyspace-shards leaves it out")
			}
		}
	}
	if len(*seen.list) == 0 {
		seen.pass("vtgate holds a statement for %s at most, and those of a Vitess shard that fails over for %s", b.window, b.longest)
	}
}
