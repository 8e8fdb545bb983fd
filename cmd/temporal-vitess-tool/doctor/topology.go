package doctor

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

// checkKeyspaces also finds the places for the checks after it.
func checkKeyspaces(ctx context.Context, e *examination, seen *observations) error {
	find := e.findVitessShards
	if e.plain {
		find = e.findDatabases
	}
	if err := find(ctx, seen); err != nil {
		return err
	}
	e.dropSilent(ctx, seen)
	return nil
}

// findDatabases finds those of a MySQL without Vitess.
func (e *examination) findDatabases(ctx context.Context, seen *observations) error {
	names, err := live.Column(ctx, e.vitess.DB, "SHOW DATABASES")
	if err != nil {
		return err
	}
	for _, h := range e.homes {
		if !slices.Contains(names, h.name) {
			seen.fail("there is no database %s", h.name)
			continue
		}
		h.places = []place{{home: h}}
		seen.pass("%s: a database", h.name)
	}
	return nil
}

func (e *examination) findVitessShards(ctx context.Context, seen *observations) error {
	sharded, refusals := map[string]bool{}, map[string]string{}
	var name, comment, foreignKeys string
	var isSharded bool
	err := live.EachRow(ctx, e.vitess.DB, "SHOW VSCHEMA KEYSPACES", nil, func() error {
		sharded[name], refusals[name] = isSharded, comment
		return nil
	}, &name, &isSharded, &foreignKeys, &comment)
	if err != nil {
		return err
	}
	for _, h := range e.homes {
		if h.vitessShards, err = e.vitess.VitessShards(ctx, h.name); err != nil {
			seen.fail("%v", err)
			continue
		}
		if err := e.findPrimaries(ctx, h, seen); err != nil {
			seen.skip("which tablets of %s serve: %v", h.name, err)
			for _, vitessShard := range h.vitessShards {
				h.places = append(h.places, place{h, vitessShard})
			}
		}
		h.unsharded = h.maybeUnsharded && !sharded[h.name]
		switch {
		case refusals[h.name] != "":
			seen.fail("%s: vtgate refuses its VSchema: %s", h.name, refusals[h.name])
		case h.sharded() && !sharded[h.name]:
			seen.fail("%s: its VSchema says unsharded, and it should be sharded", h.name)
		case !h.sharded() && sharded[h.name]:
			seen.fail("%s: its VSchema says sharded, and it should be unsharded", h.name)
		case !h.sharded() && len(h.vitessShards) > 1:
			seen.fail("%s: has %d Vitess shards, and should have one", h.name, len(h.vitessShards))
		case h.sharded() && len(h.vitessShards) == 1:
			seen.pass("%s: sharded, with one Vitess shard so far", h.name)
		case h.sharded():
			seen.pass("%s: sharded, with %d Vitess shards", h.name, len(h.vitessShards))
		default:
			seen.pass("%s: unsharded", h.name)
		}
	}
	return nil
}

// findPrimaries takes the Vitess shards that a primary serves for places.
func (e *examination) findPrimaries(ctx context.Context, h *home, seen *observations) error {
	tablets, err := e.tablets(ctx, h.name)
	if err != nil {
		return err
	}
	for _, vitessShard := range h.vitessShards {
		p := place{h, vitessShard}
		if slices.ContainsFunc(tablets, func(t tablet) bool { return t.serving && t.tabletType == "PRIMARY" && t.vitessShard == p.String() }) {
			h.places = append(h.places, p)
		} else {
			seen.at(p.String()).fail("no primary serves")
		}
	}
	return nil
}

// answerTimeout is how long a place may take to answer at all.
const answerTimeout = 5 * time.Second

// dropSilent leaves out the places that do not answer: what serves by its health checks may hang. On these each check after
// it would wait.
func (e *examination) dropSilent(ctx context.Context, seen *observations) {
	var mu sync.Mutex
	silent := map[place]bool{}
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for _, h := range e.homes {
		for _, p := range h.places {
			group.Go(func() error {
				readOnly := false
				asked, cancel := context.WithTimeout(ctx, answerTimeout)
				defer cancel()
				err := e.on(asked, p, func(session *sql.Conn) error {
					return session.QueryRowContext(asked, "SELECT @@global.read_only").Scan(&readOnly)
				})
				mu.Lock()
				defer mu.Unlock()
				at := seen.at(p.String())
				switch {
				case asked.Err() != nil && ctx.Err() == nil:
					at.fail("does not answer within %s", answerTimeout)
				case err != nil:
					at.fail("does not answer: %v", err)
				case readOnly:
					at.fail("is read-only")
				}
				silent[p] = err != nil
				return nil
			})
		}
	}
	_ = group.Wait() // which has no errors
	for _, h := range e.homes {
		h.places = slices.DeleteFunc(h.places, func(p place) bool { return silent[p] })
	}
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
	for _, h := range e.homes {
		tablets, err := e.tablets(ctx, h.name)
		if err != nil {
			seen.skip("which tablets of %s serve: %v", h.name, err)
			continue
		}
		e.skipUnlessThere(h, seen)
		for _, p := range h.places {
			count := map[string]int{}
			for _, t := range tablets {
				if t.serving && t.vitessShard == p.String() {
					count[t.tabletType]++
				}
			}
			judge(h.name, count, seen.at(p.String()))
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
	for _, h := range e.homes {
		if len(h.vitessShards) == 0 {
			continue
		}
		response, err := e.vitess.VTCtld.GetKeyspace(ctx, &vtctldatapb.GetKeyspaceRequest{Keyspace: h.name})
		if err != nil {
			return fmt.Errorf("keyspace %s from vtctld: %w", h.name, err)
		}
		policy := response.Keyspace.Keyspace.DurabilityPolicy
		if policy == "" {
			policy = durabilityNone
		}
		policies[h.name] = policy
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
