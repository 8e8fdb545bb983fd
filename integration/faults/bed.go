package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.temporal.io/server/api/historyservice/v1"
	"go.temporal.io/server/common/dynamicconfig"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
	"github.com/temporal-vitess/temporal-vitess/integration/fullcluster"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const (
	// patience is what Temporal, and the SDK, give an operation.
	patience = 10 * time.Second

	// HistoryShards is the number of a bed's history shards.
	HistoryShards = 16

	// keyspace is that of history, in which things are broken. Commits there wait for one of two replicas.
	keyspace = testbed.Main
	replicas = 2
)

var discard = slog.New(slog.DiscardHandler)

// Bed is a Vitess with a vtorc and two vtgates, and a Temporal server on it.
type Bed struct {
	*fullcluster.Testbed
	server       *server.Server
	serverConfig server.Config
	log          *serverLog
	progress     io.Writer
	began        time.Time       // when the current Run did
	calm         []time.Duration // of conditional writes before the faults so far
}

// StartBed brings a bed up. Progress gets a line for each step; logFolder, which may be empty, what all
// processes log.
func StartBed(ctx context.Context, progress io.Writer, logFolder string) (*Bed, error) {
	vitess, err := fullcluster.StartTemporal(ctx, fullcluster.Temporal{
		Replicas: map[string]int{keyspace: replicas},
		Cluster: fullcluster.Config{
			VTGates: 2, VTOrc: true, Networks: true,
			// As vitess-operator sets it: a buffering that nothing ends (a network that heals, a primary that was read-only) ends
			// when Temporal's patience does, and not after 20 s.
			VTGateFlags:   []string{"--buffer-max-failover-duration=10s"},
			VTTabletFlags: []string{"--migration-check-interval=1s"}, // by which an online DDL begins, and goes on
			Log:           progress, LogFolder: logFolder,
		},
	})
	if err != nil {
		return nil, err
	}
	b, err := BedOn(ctx, vitess, progress, logFolder)
	if err != nil {
		return nil, errors.Join(err, vitess.Stop())
	}
	return b, nil
}

// BedOn starts a Temporal server on a Vitess, which remains the caller's to stop if this fails.
func BedOn(ctx context.Context, vitess *fullcluster.Testbed, progress io.Writer, logFolder string) (*Bed, error) {
	b := &Bed{Testbed: vitess, log: &serverLog{}, progress: progress}
	var err error
	if logFolder != "" {
		if b.log.file, err = os.Create(filepath.Join(logFolder, "temporal-server.log")); err != nil {
			return nil, err
		}
	}
	b.serverConfig = server.Config{
		Main: vitess.MainConfig(), Visibility: vitess.VisibilityConfig(), HistoryShards: HistoryShards, Log: b.log,
		DynamicConfig: dynamicconfig.StaticClient{
			dynamicconfig.MatchingEnableFairness.Key(): []dynamicconfig.ConstrainedValue{
				{Constraints: dynamicconfig.Constraints{TaskQueueName: ledgerTaskQueue}, Value: true},
			},
			// With it each start asks persistence for the namespace, and takes any error for a namespace that does not exist
			// (getNamespaceByNamePersistence in common/namespace/nsregistry/registry.go).
			dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): false,
			// A timer that is shorter takes as long, and the load has many.
			dynamicconfig.TimerProcessorMaxTimeShift.Key(): 100 * time.Millisecond,
			// Tasks that are done are deleted soon, so that those which remain are to be explained.
			dynamicconfig.TransferProcessorUpdateAckInterval.Key():   time.Second,
			dynamicconfig.TimerProcessorUpdateAckInterval.Key():      time.Second,
			dynamicconfig.VisibilityProcessorUpdateAckInterval.Key(): time.Second,
		},
	}
	b.server, err = server.Start(ctx, b.serverConfig)
	return b, err
}

// Server is the Temporal server.
func (b *Bed) Server() *server.Server { return b.server }

// Stop ends everything.
func (b *Bed) Stop() error {
	err := errors.Join(b.server.Stop(), b.Testbed.Stop())
	if b.log.file != nil {
		err = errors.Join(err, b.log.file.Close())
	}
	return err
}

// serverLog keeps the lines of a server's log that tell of a defect.
type serverLog struct {
	file *os.File // for all lines; may be nil

	mutex   sync.Mutex
	defects []string
}

// Write implements io.Writer; the server writes line by line.
func (l *serverLog) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	// How package outcome ends the text of an error of that class, and what package conn logs of a statement without a route.
	if bytes.Contains(line, []byte("(defect)")) || bytes.Contains(line, []byte("cannot be routed")) {
		l.defects = append(l.defects, string(line))
	}
	if bytes.Contains(line, []byte(`"level":"fatal"`)) { // which ends the process
		_, _ = os.Stderr.Write(line)
	}
	if l.file == nil {
		return len(line), nil
	}
	return l.file.Write(line)
}

// read takes over a log that another process has written.
func (l *serverLog) read(path string) error {
	content, err := os.ReadFile(path)
	for line := range bytes.Lines(content) {
		if _, err := l.Write(line); err != nil {
			return err
		}
	}
	return err
}

// take returns the defects since the last call.
func (l *serverLog) take() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	taken := l.defects
	l.defects = nil
	return taken
}

// vitessShard returns the Vitess shard of a history shard.
func (b *Bed) vitessShard(historyShard int32) (string, error) {
	name, err := mainPlacement.vitessShard("shards", b.Shards(keyspace), []byte(fmt.Sprint(historyShard)))
	if err != nil {
		return "", fmt.Errorf("history shard %d: %w", historyShard, err)
	}
	return name, nil
}

// multiCommits returns how many transactions over several Vitess shards a vtgate has committed since its start.
func (b *Bed) multiCommits(ctx context.Context, vtgate int) (int64, error) {
	var vars struct {
		CommitModeTimings struct {
			Histograms map[string]struct{ Count int64 }
		}
	}
	err := cluster.Debug(ctx, b.VTGateHTTP(vtgate), "/debug/vars", &vars)
	return vars.CommitModeTimings.Histograms["Multi"].Count, err
}

// startHistoryHost adds a host to the server, a process that has a part of the history shards.
func (b *Bed) startHistoryHost(ctx context.Context) (*fullcluster.Process, error) {
	folder, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	checkout, err := supervise.ModuleRoot(folder)
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(checkout, ".tools", "bin", "temporal-server")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("run `make build`: %w", err)
	}
	const configFile, dynamicConfigFile = "history-host.yaml", "history-host-dynamic.yaml"
	cfg := b.serverConfig
	_, port, err := net.SplitHostPort(b.server.FrontendAddr())
	if err != nil {
		return nil, err
	}
	if cfg.FrontendPort, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	config, dynamicConfig, addr, err := cfg.HistoryHost(dynamicConfigFile)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	// It has become a host when it has a history shard.
	ready := func(ctx context.Context) error {
		described, err := historyservice.NewHistoryServiceClient(connection).DescribeHistoryHost(ctx, &historyservice.DescribeHistoryHostRequest{HostAddress: addr})
		if err == nil && described.GetShardsNumber() == 0 {
			err = errors.New("it has no history shard yet")
		}
		return err
	}
	return b.StartProcess(ctx, "history host", map[string][]byte{configFile: config, dynamicConfigFile: dynamicConfig}, ready,
		binary, "--config-file", configFile, "start", "--service", "history")
}

// awaitReplicas returns when all replicas of history follow. A former primary with transactions that nobody else has, and
// which were never acknowledged, cannot: it is rebuilt.
func (b *Bed) awaitReplicas(ctx context.Context) error {
	for _, tablet := range b.Tablets() {
		// Which one is the primary may still change.
		placed := func(limit time.Duration) error {
			limited, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return again(limited, func() error {
				primary, err := b.Primary(limited, tablet.Keyspace, tablet.Shard)
				if err != nil || tablet == primary {
					return err
				}
				return b.Follows(limited, tablet)
			})
		}
		if placed(15*time.Second) == nil {
			continue
		}
		b.step(tablet.Alias + " does not follow, and is rebuilt")
		if err := b.Rebuild(ctx, tablet); err != nil {
			return err
		}
		if err := placed(time.Minute); err != nil {
			return fmt.Errorf("after it was rebuilt: %w", err)
		}
	}
	return nil
}
