// Package balance computes, with Vitess' own vindexes, how evenly history shards spread over Vitess shards. History
// shard ids are the integers from 1 to their number, which is fixed for the life of a Temporal cluster.
package balance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/key"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
)

// Balance is how many history shards each Vitess shard has.
type Balance struct {
	// Function of the vindex, with its parameters.
	Function string
	// HistoryShards is the number of history shards.
	HistoryShards int
	Shards        []Shard
	// Counts has an element for each of Shards.
	Counts []int
}

// Compute spreads history shards over Vitess shards. It is an error if the vindex does not say by itself where a history
// shard belongs.
func Compute(function *vschemapb.Vindex, historyShards int, shards []Shard) (*Balance, error) {
	vindex, err := vindexes.CreateVindex(function.GetType(), function.GetType(), function.GetParams())
	if err != nil {
		return nil, fmt.Errorf("vindex function %q: %w", function.GetType(), err)
	}
	if vindex.NeedsVCursor() || !vindex.IsUnique() {
		return nil, fmt.Errorf("vindex function %q does not take a history shard to one Vitess shard by itself", function.GetType())
	}
	b := &Balance{Function: compare.Function(function), HistoryShards: historyShards, Shards: shards, Counts: make([]int, len(shards))}
	for id := 1; id <= historyShards; id++ {
		destinations, err := vindexes.Map(context.Background(), vindex, nil, [][]sqltypes.Value{{sqltypes.NewInt64(int64(id))}})
		if err != nil {
			return nil, fmt.Errorf("history shard %d: %w", id, err)
		}
		keyspaceID, ok := destinations[0].(key.DestinationKeyspaceID)
		if !ok {
			return nil, fmt.Errorf("vindex function %q has no place for history shard %d", function.GetType(), id)
		}
		b.Counts[Find(shards, keyspaceID)]++
	}
	return b, nil
}

// FullestOverMean is how much more the fullest Vitess shard has than the mean: 1 is even.
func (b *Balance) FullestOverMean() float64 {
	return float64(slices.Max(b.Counts)) * float64(len(b.Counts)) / float64(b.HistoryShards)
}

// fewPerVitessShard is the number of history shards on a Vitess shard below which a single busy one is felt, and
// splitting further leaves little to divide.
const fewPerVitessShard = 16

// uneven is a [Balance.FullestOverMean] that is worth a remark.
const uneven = 1.05

// Advice is what would spread better, one sentence each; none if all is well.
func (b *Balance) Advice() []string {
	var advice []string
	n, k := b.HistoryShards, len(b.Shards)
	if n < k {
		advice = append(advice, fmt.Sprintf("%d history shards cannot use %d Vitess shards: take at least %d history shards, %d are better.", n, k, k, nextPowerOfTwo(k)*fewPerVitessShard))
	} else if k > 1 && n/k < fewPerVitessShard {
		advice = append(advice, fmt.Sprintf("%d history shards on a Vitess shard leave little to divide when it has to be split, and their number is fixed for the life of the cluster: take %d.",
			n/k, nextPowerOfTwo(k)*fewPerVitessShard))
	}
	if b.FullestOverMean() < uneven {
		return advice
	}
	if b.Function != "reverse_bits" {
		advice = append(advice, fmt.Sprintf("%s gives some Vitess shards more than others: reverse_bits divides consecutive integers exactly. A keyspace with data gets it by MoveTables into a new one.", b.Function))
	}
	if !powerOfTwo(n) || !powerOfTwo(k) {
		advice = append(advice, fmt.Sprintf("Powers of two divide exactly with reverse_bits: %d history shards on %d Vitess shards.", nextPowerOfTwo(n), nextPowerOfTwo(k)))
	}
	if !b.evenRanges() {
		advice = append(advice, "The key ranges are not of equal size: split the larger ones.")
	}
	return advice
}

// evenRanges reports whether the key ranges are those of [Even].
func (b *Balance) evenRanges() bool {
	even, err := Even(len(b.Shards))
	return err == nil && slices.EqualFunc(even, b.Shards, func(a, b Shard) bool { return key.KeyRangeEqual(a.keyRange, b.keyRange) })
}

func powerOfTwo(n int) bool { return bits.OnesCount(uint(n)) == 1 }

func nextPowerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// OfHistoryShards returns the vindex that divides history shards in a VSchema. It is an error if there is none, or the
// tables do not agree.
func OfHistoryShards(keyspace *vschemapb.Keyspace) (*vschemapb.Vindex, error) {
	var found *vschemapb.Vindex
	var of string
	for _, name := range slices.Sorted(maps.Keys(keyspace.GetTables())) {
		column, vindex := compare.Primary(keyspace, name)
		if column != "shard_id" {
			continue
		}
		if found == nil {
			found, of = vindex, name
		} else if compare.Function(vindex) != compare.Function(found) {
			return nil, fmt.Errorf("the tables do not agree: %s(shard_id) divides %s, %s(shard_id) %s: see vschema diff", compare.Function(found), of, compare.Function(vindex), name)
		}
	}
	if found == nil {
		return nil, errors.New("no table of the VSchema is divided by shard_id: see vschema diff")
	}
	return found, nil
}
