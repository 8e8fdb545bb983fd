package session

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	lru "github.com/hashicorp/golang-lru/v2"
	"go.temporal.io/server/common/log/tag"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// places knows which Vitess shard a sharding value is on, to divide sessions by it. It asks vtgate, which computes it from
// the vindex of the column and asks no Vitess shard (engine.VindexFunc): so nothing here depends on the vindex function.
// Where it cannot be told, the keyspace takes the place of the Vitess shard. It is safe for concurrent use.
type places struct {
	pool *Pool
	// known has the group of each value, by column and value.
	known *lru.Cache[placeKey, string]
	// vindexes has the name of each column's vindex, by keyspace and column.
	mutex    sync.Mutex
	vindexes map[[2]string]string
	// shards are the Vitess shards that known is about, and read when they were last asked for.
	shards atomic.Pointer[[]string]
	read   atomic.Int64
}

type placeKey struct {
	keyspace, column string
	// value is an int64, or a string of bytes.
	value any
}

const (
	// endless is a sharding column whose values come once and are not asked for (visibility, profile spread).
	endless = "run_id"
	// maxPlaces is how many sharding values are remembered.
	maxPlaces = 1 << 16
	// historyShardsAtOnce is how many history shards are asked for together.
	historyShardsAtOnce = 256
	// shardsAgain is after how long the Vitess shards are asked for again: after a Reshard, all values are.
	shardsAgain = 30 * time.Second
	// askTimeout bounds a question to vtgate.
	askTimeout = 5 * time.Second
)

func newPlaces(pool *Pool) (*places, error) {
	known, err := lru.New[placeKey, string](maxPlaces)
	if err != nil {
		return nil, err
	}
	return &places{pool: pool, known: known, vindexes: map[[2]string]string{}}, nil
}

// Group returns the group of a statement with these arguments: a Vitess shard, as in temporal/-80; an unsharded keyspace;
// or "" for what vtgate does itself and where there is nothing to divide.
func (p *Pool) Group(ctx context.Context, plan *router.Plan, args []driver.NamedValue) string {
	return p.shard.group(ctx, plan, args)
}

func (p *places) group(ctx context.Context, plan *router.Plan, args []driver.NamedValue) string {
	switch {
	case p.pool.bulkhead == nil || plan.Keyspace == "" || p.pool.PlainMySQL():
		return ""
	case plan.Route != router.Single || plan.Value < 0 || plan.Value >= len(args) || plan.Column == endless:
		return plan.Keyspace
	}
	key := placeKey{plan.Keyspace, plan.Column, args[plan.Value].Value}
	if data, ok := key.value.([]byte); ok {
		key.value = string(data)
	}
	p.refresh(ctx, plan.Keyspace)
	if group, ok := p.known.Get(key); ok {
		return group
	}
	if err := p.ask(ctx, plan, key, args[plan.Value].Value); err != nil {
		return plan.Keyspace
	}
	if group, ok := p.known.Get(key); ok {
		return group
	}
	return plan.Keyspace
}

// ask learns the Vitess shard of a value; of all that come with it, where values are dense.
func (p *places) ask(ctx context.Context, plan *router.Plan, key placeKey, value driver.Value) error {
	vindex, err := p.vindex(ctx, plan)
	if err != nil || vindex == "" {
		return err
	}
	args := []driver.NamedValue{{Ordinal: 1, Value: value}}
	list := "?"
	if number, ok := value.(int64); ok && plan.Workload == router.History && number >= 0 {
		args = nil
		for i := range int64(historyShardsAtOnce) {
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: number - number%historyShardsAtOnce + i})
		}
		list += strings.Repeat(", ?", len(args)-1)
	} else if data, ok := value.([]byte); ok {
		// go-sql-driver writes _binary'…', which vtgate does not take here (Vindex.AddPredicate in planbuilder/operators).
		args, list = nil, fmt.Sprintf("x'%x'", data)
	}
	query := fmt.Sprintf("select id, shard from %s.%s where id in (%s)", quoted(plan.Keyspace), quoted(vindex), list)
	rows, err := p.query(ctx, query, args)
	if err != nil {
		return p.unlessRefused(err, plan)
	}
	p.known.Add(key, plan.Keyspace) // if nothing better comes
	for _, row := range rows {
		group := plan.Keyspace + "/" + row[1]
		if len(args) <= 1 {
			p.known.Add(key, group)
		} else if number, err := strconv.ParseInt(row[0], 10, 64); err == nil {
			p.known.Add(placeKey{key.keyspace, key.column, number}, group)
		}
	}
	return nil
}

// vindex returns the name of the vindex that places a statement's table, "" if there is none.
func (p *places) vindex(ctx context.Context, plan *router.Plan) (string, error) {
	key := [2]string{plan.Keyspace, plan.Column}
	p.mutex.Lock()
	name, ok := p.vindexes[key]
	p.mutex.Unlock()
	if ok {
		return name, nil
	}
	rows, err := p.query(ctx, fmt.Sprintf("show vschema vindexes on %s.%s", quoted(plan.Keyspace), quoted(plan.Table)), nil)
	if err != nil {
		return "", p.unlessRefused(err, plan)
	}
	for _, row := range rows { // Columns, Name, Type, Params, Owner
		if strings.EqualFold(row[0], plan.Column) {
			name = row[1]
			break
		}
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.vindexes[key] = name
	return name, nil
}

// unlessRefused returns the error of a question, unless it is vtgate's answer: it would say the same of other values, so
// the column counts as one without a vindex.
func (p *places) unlessRefused(err error, plan *router.Plan) error {
	if answer := (*mysql.MySQLError)(nil); !errors.As(err, &answer) || outcome.ShuttingDown(err) {
		return err
	}
	p.pool.cfg.Logger.Warn("Vtgate does not tell which Vitess shard a value is on, so one that hangs may take the connections of the others in its keyspace",
		tag.String("keyspace", plan.Keyspace), tag.String("column", plan.Column), tag.Error(err))
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.vindexes[[2]string{plan.Keyspace, plan.Column}] = ""
	return nil
}

// refresh forgets all values if the Vitess shards have changed since they were last asked for. It does not wait for
// that, unless it is the first time.
func (p *places) refresh(ctx context.Context, keyspace string) {
	now, last := time.Now().UnixNano(), p.read.Load()
	if time.Duration(now-last) < shardsAgain || !p.read.CompareAndSwap(last, now) {
		return
	}
	look := func(ctx context.Context) {
		rows, err := p.query(ctx, "show vitess_shards", nil)
		if err != nil {
			p.read.CompareAndSwap(now, last)
			return
		}
		p.mutex.Lock()
		maps.DeleteFunc(p.vindexes, func(_ [2]string, name string) bool { return name == "" }) // it may know by now
		p.mutex.Unlock()
		var shards []string
		for _, row := range rows {
			if strings.HasPrefix(row[0], keyspace+"/") {
				shards = append(shards, row[0])
			}
		}
		if before := p.shards.Swap(&shards); before != nil && !slices.Equal(*before, shards) {
			p.known.Purge()
		}
	}
	if p.shards.Load() == nil {
		look(ctx)
	} else {
		go look(context.WithoutCancel(ctx))
	}
}

// query asks vtgate, and returns the rows as text.
func (p *places) query(ctx context.Context, query string, args []driver.NamedValue) ([][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	session, err := p.pool.Take(ctx, "")
	if err != nil {
		return nil, err
	}
	defer p.pool.Give(session)
	rows, err := session.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	var all [][]string
	for {
		if err := rows.Next(values); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		var row []string
		for _, value := range values {
			row = append(row, text(value))
		}
		all = append(all, row)
	}
}

// quoted returns a name as SQL.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
