package balance

import (
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/key"
	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
)

// Shard is a Vitess shard.
type Shard struct {
	// Name is the key range in hexadecimal, such as -80, or any name for the only one of a keyspace.
	Name     string
	keyRange *topodatapb.KeyRange // nil is everything
}

// Even returns n Vitess shards of equal key ranges, named as Vitess names them; where n is no power of two, as equal as
// can be named.
func Even(n int) ([]Shard, error) {
	names, err := key.GenerateShardRanges(n, 0)
	if err != nil {
		return nil, fmt.Errorf("%d Vitess shards: %w", n, err)
	}
	return Named(names...)
}

// Named returns the Vitess shards of a keyspace in the order of their key ranges. It is an error if these leave out a
// keyspace ID or have one twice.
func Named(names ...string) ([]Shard, error) {
	shards := make([]Shard, len(names))
	for i, name := range names {
		shards[i].Name = name
		start, end, ok := strings.Cut(name, "-")
		if !ok && len(names) == 1 {
			return shards, nil
		}
		if !ok {
			return nil, fmt.Errorf("Vitess shard %q has no key range such as -80 or 40-80", name)
		}
		var err error
		if shards[i].keyRange, err = key.ParseKeyRangeParts(start, end); err != nil {
			return nil, fmt.Errorf("Vitess shard %q: %w", name, err)
		}
	}
	slices.SortFunc(shards, func(a, b Shard) int {
		return strings.Compare(string(a.keyRange.GetStart()), string(b.keyRange.GetStart()))
	})
	if len(shards) == 0 {
		return nil, fmt.Errorf("no Vitess shard given")
	}
	end := ""
	for i, shard := range shards {
		if string(shard.keyRange.GetStart()) != end || (i > 0 && end == "") {
			return nil, fmt.Errorf("Vitess shards %s: %s does not start where the one before ends: together they must be every keyspace ID once, as -40, 40-80, 80- are",
				strings.Join(names, ", "), shard.Name)
		}
		end = string(shard.keyRange.GetEnd())
	}
	if end != "" {
		return nil, fmt.Errorf("Vitess shards %s: nothing follows %s: together they must be every keyspace ID once, as -40, 40-80, 80- are",
			strings.Join(names, ", "), shards[len(shards)-1].Name)
	}
	return shards, nil
}

// Find returns the index of the Vitess shard that has a keyspace ID, among those that [Even] or [Named] returned.
func Find(shards []Shard, keyspaceID []byte) int {
	return slices.IndexFunc(shards, func(shard Shard) bool { return key.KeyRangeContains(shard.keyRange, keyspaceID) })
}
