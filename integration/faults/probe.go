package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

const (
	// probeEvery is the time between two writes to a row.
	probeEvery = 200 * time.Millisecond
	// firstProbe is behind the registers.
	firstProbe = 2048
	probeCount = registerCount
)

// probe writes through vtgate without the plugin: a plain statement to each Vitess shard, through one vtgate, or the next
// where that is gone. It tells how long Vitess itself does not serve.
type probe struct {
	vtgates []*sql.DB
	end     context.CancelFunc
	running sync.WaitGroup

	mutex sync.Mutex
	calls []call
}

func (b *Bed) startProbe(ctx context.Context) (*probe, error) {
	p := &probe{}
	for _, addr := range b.VTGateAddrs() {
		db, err := cluster.Open("probe", addr, "")
		if err != nil {
			return nil, err
		}
		p.vtgates = append(p.vtgates, db)
	}
	ctx, p.end = context.WithCancel(context.WithoutCancel(ctx))
	for i := range probeCount {
		p.running.Go(func() {
			for ctx.Err() == nil {
				p.running.Go(func() { p.write(firstProbe + int32(i)) })
				time.Sleep(probeEvery)
			}
		})
	}
	return p, nil
}

func (p *probe) write(historyShard int32) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	statement := fmt.Sprintf("INSERT INTO `%s`.shards (shard_id, range_id, data, data_encoding) VALUES (%d, 1, '', '') ON DUPLICATE KEY UPDATE range_id = range_id + 1", keyspace, historyShard)
	var err error
	for _, vtgate := range p.vtgates {
		var connection *sql.Conn
		if connection, err = vtgate.Conn(ctx); err == nil {
			_, err = connection.ExecContext(ctx, statement)
			err = errors.Join(err, connection.Close())
			break
		}
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.calls = append(p.calls, call{what: "probe", historyShard: historyShard, began: began, ended: time.Now(), err: err})
}

func (p *probe) stop() {
	p.end()
	p.running.Wait()
	for _, vtgate := range p.vtgates {
		_ = vtgate.Close() // a connection to a vtgate that is gone cannot be told so
	}
}
