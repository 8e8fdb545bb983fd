package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/persistence"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

const (
	// firstRegister is behind the server's history shards. As many as registerCount are on each of up to as many Vitess
	// shards: reverse_bits puts the last bits first.
	firstRegister = 1024
	registerCount = 4
	// registerWriters write the same register, each after a pause.
	registerWriters = 2
	registerPause   = 250 * time.Millisecond
)

// registers are range IDs of history shards that belong to nobody, which are read and written through Temporal's persistence
// API while something happens. A write takes place only if the range ID is what the writer believes.
type registers struct {
	factory *persistencesql.Factory
	store   persistence.ShardStore
	db      sqlplugin.DB

	end     context.CancelFunc
	running sync.WaitGroup

	mutex sync.Mutex
	calls []call
	// operations is the history of each register.
	operations map[int32][]porcupine.Operation
}

// registerInput is a read, or a write of next if the range ID is previous.
type registerInput struct {
	write          bool
	previous, next int64
}

type registerOutput struct {
	// rangeID is what was read.
	rangeID int64
	// refused, undone and unknown are outcomes of a write: the range ID is another one, it was not applied as the plugin says, or
	// nobody knows. unknown also is that of a read that failed.
	refused, undone, unknown bool
}

// register is a range ID whose writes may be unknown to have happened.
var register = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{int64(1)} },
	Step: func(state, input, output any) []any {
		rangeID, in, out := state.(int64), input.(registerInput), output.(registerOutput)
		matches := rangeID == in.previous
		switch {
		case !in.write && (out.unknown || out.rangeID == rangeID), in.write && out.refused && !matches, in.write && out.undone:
			return []any{rangeID}
		case in.write && out.unknown && matches:
			return []any{rangeID, in.next}
		case in.write && out.unknown:
			return []any{rangeID}
		case in.write && !out.refused && matches:
			return []any{in.next}
		}
		return nil
	},
}).ToModel()

// startRegisters sets the registers to 1 and begins with them.
func (b *Bed) startRegisters(ctx context.Context) (_ *registers, err error) {
	r := &registers{operations: map[int32][]porcupine.Operation{}}
	if r.factory, r.db, err = openPlugin(b.MainConfig()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.factory.Close()
		}
	}()
	if r.store, err = r.factory.NewShardStore(); err != nil {
		return nil, err
	}
	for i := range int32(registerCount) {
		if err := resetRangeID(ctx, r.db, firstRegister+i); err != nil {
			return nil, err
		}
	}
	ctx, r.end = context.WithCancel(context.WithoutCancel(ctx))
	began := time.Now()
	for i := range registerCount {
		for writer := range registerWriters {
			r.running.Go(func() { r.run(ctx, began, firstRegister+int32(i), writer) })
		}
	}
	return r, nil
}

// run reads and writes a register in turn, until the context ends.
func (r *registers) run(ctx context.Context, began time.Time, historyShard int32, writer int) {
	now := func() int64 { return int64(time.Since(began)) }
	known := int64(1)
	for ; ctx.Err() == nil; time.Sleep(registerPause) {
		read := porcupine.Operation{ClientId: writer, Input: registerInput{}, Call: now()}
		limited, cancel := context.WithTimeout(context.Background(), patience)
		row, err := r.db.SelectFromShards(limited, sqlplugin.ShardsFilter{ShardID: historyShard})
		cancel()
		read.Return = now()
		if err != nil {
			continue // which says nothing
		}
		known = row.RangeID
		read.Output = registerOutput{rangeID: known}
		r.add(historyShard, read)

		input := registerInput{write: true, previous: known, next: known + 1 + int64(writer)}
		write := porcupine.Operation{ClientId: writer, Input: input, Call: now()}
		callBegan := time.Now()
		limited, cancel = context.WithTimeout(context.Background(), patience)
		err = r.store.UpdateShard(limited, &persistence.InternalUpdateShardRequest{
			ShardID: historyShard, PreviousRangeID: input.previous, RangeID: input.next,
			ShardInfo: &commonpb.DataBlob{EncodingType: enumspb.ENCODING_TYPE_PROTO3, Data: []byte{}},
		})
		cancel()
		write.Return = now()
		var lost *persistence.ShardOwnershipLostError
		output := registerOutput{refused: errors.As(err, &lost)}
		// Upstream's stores keep the text alone.
		output.undone = err != nil && strings.HasSuffix(err.Error(), "("+string(outcome.NotCommitted)+")")
		if output.unknown = err != nil && !output.refused && !output.undone; output.unknown {
			// It may happen until the very end, and this writer has others before that.
			write.Return, write.ClientId = int64(time.Hour), int(now())
		}
		write.Output = output
		r.add(historyShard, write)
		if output.refused || output.undone && strings.Contains(err.Error(), "another range ID") { // the server has answered
			err = nil
		}
		r.mutex.Lock()
		r.calls = append(r.calls, call{what: "range ID", historyShard: historyShard, began: callBegan, ended: time.Now(), err: err})
		r.mutex.Unlock()
	}
}

func (r *registers) add(historyShard int32, operation porcupine.Operation) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.operations[historyShard] = append(r.operations[historyShard], operation)
}

// stop returns an error for each register whose history no single range ID could have had.
func (r *registers) stop() (violations []string) {
	r.end()
	r.running.Wait()
	r.factory.Close()
	const limit = 30 * time.Second
	for historyShard, operations := range r.operations {
		if result := porcupine.CheckOperationsTimeout(register, operations, limit); result != porcupine.Ok {
			violations = append(violations, fmt.Sprintf("the %d reads and writes of the range ID of history shard %d are not linearizable (%s)", len(operations), historyShard, result))
		}
	}
	return violations
}
