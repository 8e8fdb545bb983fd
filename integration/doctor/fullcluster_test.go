package doctor

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// recommended are the lines that the documentation gives for a program, each a flag or several, or a setting.
func recommended(t *testing.T, program string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	var lines []string
	for line := range strings.SplitSeq(string(page), "\n") {
		if rest, ok := strings.CutPrefix(line, program+"  "); ok {
			lines = append(lines, strings.TrimSpace(rest))
		}
	}
	require.NotEmpty(t, lines)
	return lines
}

func flags(lines []string) []string { return strings.Fields(strings.Join(lines, " ")) }

func TestFullCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	bed, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{
		Replicas: map[string]int{testbed.Global: 1},
		Cluster: fullcluster.Config{
			VTGates: 2,
			// A vtgate goes on showing tablets that are removed meanwhile.
			VTGateFlags:   append(flags(recommended(t, "vtgate")), "--tablet-refresh-interval=1h", "--buffer-min-time-between-failovers=1m"),
			VTTabletFlags: flags(recommended(t, "vttablet")),
			MySQLSettings: recommended(t, "mysqld"),
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, bed.Stop()) })

	connector := func(address string, attributes map[string]string) func(*doctor.Config) {
		return func(cfg *doctor.Config) {
			var err error
			cfg.VTGate, err = plugin.NewConnector(&config.SQL{ConnectAddr: address, User: "temporal", ConnectAttributes: attributes}, resolver.NewNoopResolver())
			require.NoError(t, err)
			cfg.Address = address
		}
	}
	with := func(changes ...func(*doctor.Config)) doctor.Config {
		cfg := doctor.Config{
			VTCtld: bed.VTCtldAddr(),
			Keyspaces: map[vschema.Role]string{
				vschema.Main: testbed.Main, vschema.Global: testbed.Global, vschema.Visibility: testbed.Visibility,
			},
			Profile:            vschema.ProfileNamespace,
			VTGateHTTP:         bed.VTGateHTTP(0),
			MaxConns:           20,
			VisibilityMaxConns: 10,
			Services:           4,
			MaxRows:            10000,
			HistoryShards:      64,
			Now:                time.Now,
		}
		connector(bed.VTGateAddrs()[0], nil)(&cfg)
		for _, change := range changes {
			change(&cfg)
		}
		return cfg
	}
	run := func(t *testing.T, cfg doctor.Config) map[string]doctor.Finding {
		t.Helper()
		findings := map[string]doctor.Finding{}
		require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) { findings[f.Check] = f }))
		return findings
	}

	t.Run("what the documentation says to start with passes", func(t *testing.T) {
		for check, finding := range run(t, with()) {
			require.Equal(t, doctor.Pass, finding.Status, "%s: %+v", check, finding.Found)
		}
	})

	t.Run("several vtgates", func(t *testing.T) {
		replicated := func(cfg *doctor.Config) { cfg.Replicas = 1 }
		requireFinding(t, with(replicated), "vtgates", doctor.Warn, "reached one vtgate")
		requireFinding(t, with(replicated, func(cfg *doctor.Config) { cfg.ConnectAddr = strings.Join(bed.VTGateAddrs(), ",") }), "vtgates", doctor.Pass, "2 addresses")
		requireFinding(t, with(replicated, connector(balancer(t, bed.VTGateAddrs()), nil)), "vtgates", doctor.Pass, "several vtgates are behind")
	})

	t.Run("a tablet that was removed", func(t *testing.T) {
		removed := bed.Tablet(testbed.Global, "0", 1)
		require.NoError(t, removed.VTTablet().Kill())
		requireFinding(t, with(), "pools", doctor.Skip, "connection refused (temporal_global/0 "+removed.Alias)
		_, err := bed.VTCtl(t.Context(), "DeleteTablets", removed.Alias)
		require.NoError(t, err)
		db, err := cluster.Open("root", bed.VTGateAddrs()[0], "")
		require.NoError(t, err)
		defer db.Close()
		var shown []string
		require.NoError(t, live.EachText(t.Context(), db, "SHOW VITESS_TABLETS", func(_, row []string) { shown = append(shown, row...) }))
		require.Contains(t, shown, removed.Alias, "vtgate has forgotten it")
		requireFinding(t, with(), "pools", doctor.Pass, "for each Vitess shard")
	})

	for name, fault := range map[string]struct {
		fail, repair func() error
		says         []string
	}{
		"its vttablet is gone": {
			bed.VTTablet(testbed.Main, "-80", 0).Kill,
			func() error { return bed.VTTablet(testbed.Main, "-80", 0).Restart(context.WithoutCancel(t.Context())) },
			[]string{"no primary serves"},
		},
		"its mysqld hangs": {
			bed.MySQLd(testbed.Main, "-80", 0).Stop,
			bed.MySQLd(testbed.Main, "-80", 0).Continue,
			[]string{"does not answer", "no primary serves"}, // before and after the vttablet has noticed
		},
	} {
		t.Run("one Vitess shard is down: "+name, func(t *testing.T) {
			require.NoError(t, fault.fail())
			repair := sync.OnceFunc(func() {
				require.NoError(t, fault.repair())
				require.NoError(t, bed.WaitServing(context.WithoutCancel(t.Context())))
			})
			defer repair()
			// The stores' connectAttributes have what vtgate checks on that Vitess shard.
			bare := with().VTGate
			findings := run(t, with(connector(bed.VTGateAddrs()[0], map[string]string{"time_zone": "'+00:00'"}), func(cfg *doctor.Config) { cfg.BareVTGate = bare }))

			require.Contains(t, findings["reachability"].Fix, "a Vitess shard that is down", findings["reachability"].Found)
			require.Equal(t, doctor.Fail, findings["keyspaces"].Status)
			named := findings["keyspaces"].Found[0]
			require.Equal(t, []string{"temporal/-80"}, named.Where, named)
			require.Condition(t, func() bool {
				for _, says := range fault.says {
					if strings.Contains(named.Text, says) {
						return true
					}
				}
				return false
			}, named.Text)
			delete(findings, "reachability")
			delete(findings, "keyspaces")
			require.Len(t, findings, len(doctor.Names())-2)
			for check, finding := range findings {
				for _, observation := range finding.Found {
					switch observation.Status {
					case doctor.Skip: // of that Vitess shard, or its vttablet
						require.Len(t, observation.Where, 1, "%s: %+v", check, observation)
						require.Contains(t, observation.Where[0], "temporal/-80", check)
					default:
						require.Equal(t, doctor.Pass, observation.Status, "%s: %+v", check, observation)
					}
				}
			}
			for _, check := range []string{"vschema", "statements", "buffering", "history-shards", "balance", "schema-version"} {
				require.Equal(t, doctor.Pass, findings[check].Status, "%s: %+v", check, findings[check].Found)
			}
			require.Contains(t, findings["columns"].Found, doctor.Observation{Status: doctor.Skip, Text: "does not answer: see keyspaces", Where: []string{"temporal/-80"}})

			repair()
			for check, finding := range run(t, with()) {
				require.Equal(t, doctor.Pass, finding.Status, "%s: %+v", check, finding.Found)
			}
		})
	}

	t.Run("a primary is read-only", func(t *testing.T) {
		_, address, user := bed.MySQL(testbed.Main, "80-", 0)
		mysqld, err := cluster.Open(user, address, "")
		require.NoError(t, err)
		defer mysqld.Close()
		_, err = mysqld.ExecContext(t.Context(), "SET GLOBAL read_only = ON")
		require.NoError(t, err)
		requireFinding(t, with(), "keyspaces", doctor.Fail, "is read-only (temporal/80-)")
		requireFinding(t, with(), "columns", doctor.Pass, "")
		_, err = mysqld.ExecContext(t.Context(), "SET GLOBAL read_only = OFF")
		require.NoError(t, err)
	})
}

// balancer listens and passes each connection on to the next of the addresses.
func balancer(t *testing.T, addresses []string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var turn atomic.Int64
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addresses[int(turn.Add(1))%len(addresses)])
			if err != nil {
				_ = client.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
				}()
			}
		}
	}()
	return listener.Addr().String()
}
