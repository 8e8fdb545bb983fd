package doctor

import (
	"context"
	"database/sql"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// home is a keyspace, or on MySQL without Vitess a database, with the roles that it has.
type home struct {
	name  string
	roles []vschema.Role
	// placement is the VSchema that the keyspace should have.
	placement *vschema.Keyspace
	// maybeUnsharded reports that the keyspace need not be sharded, whatever the placement says: beside a main store that
	// is in an unsharded one.
	maybeUnsharded bool

	// unsharded reports that it is not, and need not be.
	unsharded bool
	// vitessShards are all that there are, in the order of their key ranges, and places those that answer. There are none
	// before the check of keyspaces.
	vitessShards []string
	places       []place
}

// place is where rows are: a Vitess shard, or a database of MySQL.
type place struct {
	home        *home
	vitessShard string // empty for a database
}

func (p place) String() string {
	if p.vitessShard == "" {
		return p.home.name
	}
	return p.home.name + "/" + p.vitessShard
}

// sharded reports whether rows are divided by their sharding columns.
func (h *home) sharded() bool { return h.placement.Sharded && !h.unsharded }

func (h *home) has(role vschema.Role) bool { return slices.Contains(h.roles, role) }

// answers reports whether a Vitess shard is among the places.
func (h *home) answers(vitessShard string) bool {
	return slices.ContainsFunc(h.places, func(p place) bool { return p.vitessShard == vitessShard })
}

// findHomes sets the keyspaces, in the order of their first roles.
func (e *examination) findHomes() error {
	for _, role := range vschema.Roles() {
		placement, err := vschema.Load(role, e.Profile)
		if err != nil {
			return err
		}
		h := e.home(role)
		if h == nil {
			h = &home{name: e.Keyspaces[role], placement: &vschema.Keyspace{Sharded: true, Vindexes: map[string]vschema.Vindex{}, Tables: map[string]vschema.Table{}}}
			e.homes = append(e.homes, h)
		}
		h.roles = append(h.roles, role)
		h.placement.Sharded = h.placement.Sharded && placement.Sharded
		for name, table := range placement.Tables {
			h.placement.Tables[name] = table
		}
		for name, vindex := range placement.Vindexes {
			h.placement.Vindexes[name] = vindex
		}
	}
	for _, h := range e.homes {
		if !h.placement.Sharded { // what exists once per cluster lets nothing beside it be divided
			h.placement.Vindexes = nil
			for name := range h.placement.Tables {
				h.placement.Tables[name] = vschema.Table{}
			}
		}
		h.maybeUnsharded = h.placement.Sharded && e.oneDatabase()
	}
	return nil
}

// home is the keyspace that has a role.
func (e *examination) home(role vschema.Role) *home {
	for _, h := range e.homes {
		if h.name == e.Keyspaces[role] {
			return h
		}
	}
	return nil
}

// oneDatabase reports whether the main store is in one database, and not divided into a sharded and an unsharded keyspace.
func (e *examination) oneDatabase() bool {
	return e.Keyspaces[vschema.Main] == e.Keyspaces[vschema.Global]
}

// on calls do with a session on a place.
func (e *examination) on(ctx context.Context, p place, do func(*sql.Conn) error) error {
	if e.plain {
		return e.vitess.In(ctx, p.home.name, do)
	}
	return e.vitess.On(ctx, p.home.name, p.vitessShard, do)
}

// sideBySide is how many places are asked at once.
const sideBySide = 8

// onEach calls do with a session on each place of the homes, several at once. What fails is said of the place, and does not
// stop the others.
func (e *examination) onEach(ctx context.Context, homes []*home, seen *observations, do func(ctx context.Context, p place, session *sql.Conn, seen *observations) error) {
	var group errgroup.Group
	group.SetLimit(sideBySide)
	var each []*observations // in the order of the places
	for _, h := range homes {
		e.skipUnlessThere(h, seen)
		for _, p := range h.places {
			own := newObservations().at(p.String())
			each = append(each, own)
			group.Go(func() error {
				err := e.on(ctx, p, func(session *sql.Conn) error { return do(ctx, p, session, own) })
				if err != nil {
					own.fail("cannot be looked at: %v", err)
				}
				return nil
			})
		}
	}
	_ = group.Wait() // which has no errors
	for _, own := range each {
		*seen.list = append(*seen.list, *own.list...)
	}
}

// skipUnlessThere reports whether there are places of a keyspace to look at, and adds which ones there are not.
func (e *examination) skipUnlessThere(h *home, seen *observations) bool {
	for _, vitessShard := range h.vitessShards {
		if !h.answers(vitessShard) {
			seen.at(place{h, vitessShard}.String()).skip("does not answer: see %s", keyspaces)
		}
	}
	if len(h.places) == 0 {
		seen.skip("%s cannot be looked at: see %s", h.name, keyspaces)
		return false
	}
	return true
}

// skipUnlessExists is for what can be seen of a keyspace without its Vitess shards.
func (e *examination) skipUnlessExists(h *home, seen *observations) bool {
	if len(h.vitessShards) == 0 {
		seen.skip("%s cannot be looked at: see %s", h.name, keyspaces)
		return false
	}
	return true
}
