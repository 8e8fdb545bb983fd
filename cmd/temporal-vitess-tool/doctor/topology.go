package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// checkKeyspaces also remembers the Vitess shards for the checks after it.
func checkKeyspaces(ctx context.Context, e *examination, seen *observations) error {
	sharded, refusals := map[string]bool{}, map[string]string{}
	var name, comment, foreignKeys string
	var isSharded bool
	err := scan(ctx, e.vitess.DB, "SHOW VSCHEMA KEYSPACES", func() error {
		sharded[name], refusals[name] = isSharded, comment
		return nil
	}, &name, &isSharded, &foreignKeys, &comment)
	if err != nil {
		return err
	}
	e.vitessShards, e.unserved = map[vschema.Role][]string{}, map[vschema.Role][]string{}
	for _, role := range vschema.Roles() {
		keyspace := e.Keyspaces[role]
		vitessShards, err := e.vitess.VitessShards(ctx, keyspace)
		if err != nil {
			seen.fail("%v", err)
			continue
		}
		placement := e.placements[role]
		e.vitessShards[role] = vitessShards
		if err := e.findPrimaries(ctx, role, seen); err != nil {
			seen.skip("which tablets of %s serve: %v", keyspace, err)
		}
		switch {
		case refusals[keyspace] != "":
			seen.fail("%s: vtgate refuses its VSchema: %s", keyspace, refusals[keyspace])
		case placement.Sharded && !sharded[keyspace]:
			seen.fail("%s: its VSchema says unsharded, and it should be sharded", keyspace)
		case !placement.Sharded && sharded[keyspace]:
			seen.fail("%s: its VSchema says sharded, and it should be unsharded", keyspace)
		case !placement.Sharded && len(vitessShards) > 1:
			seen.fail("%s: has %d Vitess shards, and should have one", keyspace, len(vitessShards))
		case placement.Sharded && len(vitessShards) == 1:
			seen.pass("%s: sharded, with one Vitess shard so far", keyspace)
		case placement.Sharded:
			seen.pass("%s: sharded, with %d Vitess shards", keyspace, len(vitessShards))
		default:
			seen.pass("%s: unsharded", keyspace)
		}
	}
	return nil
}

// findPrimaries sets the Vitess shards apart that nobody serves, which no check can look at.
func (e *examination) findPrimaries(ctx context.Context, role vschema.Role, seen *observations) error {
	keyspace := e.Keyspaces[role]
	tablets, err := e.tablets(ctx, keyspace)
	if err != nil {
		return err
	}
	var serving []string
	for _, vitessShard := range e.vitessShards[role] {
		name := keyspace + "/" + vitessShard
		if slices.ContainsFunc(tablets, func(t tablet) bool { return t.serving && t.tabletType == "PRIMARY" && t.vitessShard == name }) {
			serving = append(serving, vitessShard)
			continue
		}
		e.unserved[role] = append(e.unserved[role], vitessShard)
		seen.at(name).fail("no primary serves")
	}
	e.vitessShards[role] = serving
	return nil
}

func checkReplicas(ctx context.Context, e *examination, seen *observations) error {
	return e.countTablets(ctx, seen, func(_ string, serving map[string]int, seen *observations) {
		replicas := serving["REPLICA"]
		if replicas < e.Replicas {
			seen.warn("%d replicas serve, fewer than %d (--replicas)", replicas, e.Replicas)
		} else {
			seen.pass("%d replicas serve", replicas)
		}
	})
}

// countTablets calls judge with the numbers of tablets that serve each Vitess shard, by their types.
func (e *examination) countTablets(ctx context.Context, seen *observations, judge func(keyspace string, serving map[string]int, seen *observations)) error {
	for _, role := range vschema.Roles() {
		keyspace := e.Keyspaces[role]
		tablets, err := e.tablets(ctx, keyspace)
		if err != nil {
			seen.skip("which tablets of %s serve: %v", keyspace, err)
			continue
		}
		e.skipUnlessThere(role, seen)
		for _, vitessShard := range e.vitessShards[role] {
			count := map[string]int{}
			for _, t := range tablets {
				if t.serving && t.vitessShard == keyspace+"/"+vitessShard {
					count[t.tabletType]++
				}
			}
			judge(keyspace, count, seen.at(keyspace+"/"+vitessShard))
		}
	}
	return nil
}

// Vitess' durability policies (go/vt/vtctl/reparentutil/policy/durability.go). The latter two have a variant each with
// the suffix, under which RDONLY tablets acknowledge, too.
const (
	durabilityNone      = "none"
	durabilitySemiSync  = "semi_sync"
	durabilityCrossCell = "cross_cell"
	withRdonlyAck       = "_with_rdonly_ack"
)

// semiSyncTablets is how many tablets a Vitess shard needs so that it can lose one and still acknowledge writes.
const semiSyncTablets = 3

func checkDurability(ctx context.Context, e *examination, seen *observations) error {
	if e.vitess.VTCtld == nil {
		seen.skip("the topology holds the durability policy: give --vtctld")
		return nil
	}
	policies := map[string]string{}
	for _, role := range vschema.Roles() {
		keyspace := e.Keyspaces[role]
		if len(e.vitessShards[role]) == 0 {
			continue
		}
		response, err := e.vitess.VTCtld.GetKeyspace(ctx, &vtctldatapb.GetKeyspaceRequest{Keyspace: keyspace})
		if err != nil {
			return fmt.Errorf("keyspace %s from vtctld: %w", keyspace, err)
		}
		policy := response.Keyspace.Keyspace.DurabilityPolicy
		if policy == "" {
			policy = durabilityNone
		}
		policies[keyspace] = policy
	}
	return e.countTablets(ctx, seen, func(keyspace string, serving map[string]int, seen *observations) {
		policy, tablets := policies[keyspace], serving["PRIMARY"]+serving["REPLICA"]
		if strings.HasSuffix(policy, withRdonlyAck) {
			tablets += serving["RDONLY"]
		}
		semiSync := strings.HasPrefix(policy, durabilitySemiSync) || strings.HasPrefix(policy, durabilityCrossCell)
		switch {
		case semiSync && tablets < semiSyncTablets:
			seen.fail("%s with %d tablets: it needs %d, or the loss of one stops all writes", policy, tablets, semiSyncTablets)
		case policy == durabilityNone && e.Replicas > 0:
			seen.warn("%s: a failover may lose transactions that Temporal takes for committed", policy)
		default:
			seen.pass("%s with %d tablets", policy, tablets)
		}
	})
}
