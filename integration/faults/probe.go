package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

const (
	// probeEvery is the time between two writes to a row.
	probeEvery = 400 * time.Millisecond
	// firstProbe is behind the registers. Plain statements and the plugin's transactions have rows of their own, so that none
	// waits for the locks of the other.
	firstProbe       = 2048
	firstPluginProbe = firstProbe + probeCount
	probeCount       = registerCount
	// probeConnections are more than can wait at once.
	probeConnections = 2 * probeCount * int(patience/probeEvery)
)

// probe writes to each Vitess shard in two ways side by side, as often, and without waiting for the writes before: a plain
// statement through one vtgate, or the next where that is gone, which tells how long Vitess itself does not serve; and a
// transaction of a lock and a write through the plugin.
type probe struct {
	vtgates []*sql.DB
	factory *persistencesql.Factory
	db      sqlplugin.DB
	end     context.CancelFunc
	running sync.WaitGroup

	mutex               sync.Mutex
	calls, pluginsCalls []call
}

func (b *Bed) startProbe(ctx context.Context) (_ *probe, err error) {
	p := &probe{}
	for _, addr := range b.VTGateAddrs() {
		db, err := cluster.Open("probe", addr, "")
		if err != nil {
			return nil, err
		}
		p.vtgates = append(p.vtgates, db)
	}
	store := b.MainConfig()
	store.MaxConns, store.MaxIdleConns = probeConnections, probeConnections
	if p.factory, p.db, err = openPlugin(store); err != nil {
		return nil, err
	}
	for i := range int32(probeCount) {
		if err := resetRangeID(ctx, p.db, firstPluginProbe+i); err != nil {
			p.factory.Close()
			return nil, err
		}
	}
	ctx, p.end = context.WithCancel(context.WithoutCancel(ctx))
	for i := range int32(probeCount) {
		p.running.Go(func() {
			for ctx.Err() == nil {
				p.running.Go(func() { p.record(&p.calls, "probe", firstProbe+i, p.write) })
				p.running.Go(func() { p.record(&p.pluginsCalls, "probe of the plugin", firstPluginProbe+i, p.writeThroughPlugin) })
				time.Sleep(probeEvery)
			}
		})
	}
	return p, nil
}

func (p *probe) record(calls *[]call, what string, historyShard int32, write func(ctx context.Context, historyShard int32) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	err := write(ctx, historyShard)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	*calls = append(*calls, call{what: what, historyShard: historyShard, began: began, ended: time.Now(), err: err})
}

func (p *probe) write(ctx context.Context, historyShard int32) (err error) {
	statement := fmt.Sprintf("INSERT INTO `%s`.shards (shard_id, range_id, data, data_encoding) VALUES (%d, 1, '', '') ON DUPLICATE KEY UPDATE range_id = range_id + 1", keyspace, historyShard)
	for _, vtgate := range p.vtgates {
		var connection *sql.Conn
		if connection, err = vtgate.Conn(ctx); err == nil {
			_, err = connection.ExecContext(ctx, statement)
			return errors.Join(err, connection.Close())
		}
	}
	return err
}

func (p *probe) writeThroughPlugin(ctx context.Context, historyShard int32) error {
	tx, err := p.db.BeginTx(ctx)
	if err != nil {
		return err
	}
	rangeID, err := tx.WriteLockShards(ctx, sqlplugin.ShardsFilter{ShardID: historyShard})
	if err == nil {
		// The range ID stays, as the plugin knows it, and a write that changes nothing would not wait for replicas.
		_, err = tx.UpdateShards(ctx, &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: rangeID, Data: []byte(time.Now().Format(time.RFC3339Nano)), DataEncoding: enumspb.ENCODING_TYPE_PROTO3.String()})
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (p *probe) stop() {
	p.end()
	p.running.Wait()
	p.factory.Close()
	for _, vtgate := range p.vtgates {
		_ = vtgate.Close() // a connection to a vtgate that is gone cannot be told so
	}
}

// openPlugin opens a main store.
func openPlugin(store *config.SQL) (*persistencesql.Factory, sqlplugin.DB, error) {
	factory := persistencesql.NewFactory(*store, resolver.NewNoopResolver(), "active", log.NewNoopLogger(), metrics.NoopMetricsHandler, serialization.NewSerializer())
	db, err := factory.GetDB()
	if err != nil {
		factory.Close()
		return nil, nil, err
	}
	return factory, db, nil
}

// resetRangeID sets the range ID of a history shard that is nobody's to 1.
func resetRangeID(ctx context.Context, db sqlplugin.DB, historyShard int32) error {
	row := &sqlplugin.ShardsRow{ShardID: historyShard, RangeID: 1, Data: []byte{}, DataEncoding: enumspb.ENCODING_TYPE_PROTO3.String()}
	_, err := db.InsertIntoShards(ctx, row)
	if db.IsDupEntryError(err) {
		_, err = db.UpdateShards(ctx, row)
	}
	return err
}
