package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blang/semver/v4"
	"go.temporal.io/server/api/persistence/v1"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/taskqueue"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func checkSchemaVersion(ctx context.Context, e *examination, seen *observations) error {
	e.observeStructures(ctx)
	for _, store := range []struct {
		role, home vschema.Role // the home has the table schema_version
		wanted     string
	}{
		{vschema.Main, vschema.Global, schema.MainVersion},
		{vschema.Visibility, vschema.Visibility, schema.VisibilityVersion},
	} {
		name, home := e.Keyspaces[store.role], e.home(store.home)
		shared := store.role == vschema.Visibility && name == e.Keyspaces[vschema.Main] && home == e.home(vschema.Global)
		if shared {
			name = schema.VisibilityVersionName(name)
		}
		if !e.skipUnlessThere(home, seen) {
			continue
		}
		if observed, ok := e.structures[home.places[0].String()]; ok && observed["schema_version"] == nil {
			seen.fail("%s has no version: %s has no table schema_version", name, home.name)
			seen.advise(setUp)
			continue
		}
		var text string
		err := e.vitess.DB.QueryRowContext(ctx, "SELECT curr_version FROM `"+home.name+"`.schema_version WHERE version_partition = 0 AND db_name = ?", name).Scan(&text)
		switch {
		case errors.Is(err, sql.ErrNoRows) && shared:
			continue // servers take the main store's version for both
		case errors.Is(err, sql.ErrNoRows):
			seen.fail("%s.schema_version has no version of %s", home.name, name)
			seen.advise(setUp)
			continue
		case err != nil:
			seen.fail("%s: %v", name, err)
			continue
		}
		version, err := semver.ParseTolerant(text)
		if err != nil {
			seen.fail("%s: version %q: %v", name, text, err)
			continue
		}
		switch wanted := semver.MustParse(store.wanted + ".0"); version.Compare(wanted) {
		case -1:
			seen.fail("%s has version %s, and the server needs %s", name, text, store.wanted)
		case 1:
			seen.warn("%s has version %s, newer than the %s of this tool: take the tool of the server's release", name, text, store.wanted)
		default:
			seen.pass("%s has version %s", name, text)
		}
	}
	return nil
}

// historyShards returns the number of history shards, 0 if it cannot be told; then it says why.
func (e *examination) historyShards(ctx context.Context, seen *observations) (int, error) {
	if e.HistoryShards > 0 {
		return e.HistoryShards, nil
	}
	if !e.skipUnlessThere(e.home(vschema.Global), seen) {
		return 0, nil
	}
	var counts []int
	var data []byte
	var encoding string
	err := live.EachRow(ctx, e.vitess.DB, "SELECT data, data_encoding FROM `"+e.Keyspaces[vschema.Global]+"`.cluster_metadata_info WHERE metadata_partition = 0", nil, func() error {
		if encoding != "Proto3" {
			return fmt.Errorf("cluster_metadata_info: encoding %s is not known", encoding)
		}
		var metadata persistence.ClusterMetadata
		if err := metadata.Unmarshal(data); err != nil {
			return fmt.Errorf("cluster_metadata_info: %w", err)
		}
		counts = append(counts, int(metadata.HistoryShardCount))
		return nil
	}, &data, &encoding)
	if err != nil && !live.Refused(err, live.ErrnoNoSuchTable) {
		return 0, err
	}
	slices.Sort(counts)
	switch counts = slices.Compact(counts); len(counts) {
	case 0:
		seen.skip("no Temporal server has run here yet: give --history-shards")
		return 0, nil
	case 1:
		return counts[0], nil
	default:
		seen.skip("the connected clusters have %v history shards: give --history-shards", counts)
		return 0, nil
	}
}

// fewHistoryShards is how many a Vitess shard should have at least. Temporal cannot change their number later, and every
// split of the Vitess shards halves it.
const fewHistoryShards = 4

func checkHistoryShards(ctx context.Context, e *examination, seen *observations) error {
	vitessShards := 1
	if !e.plain {
		h := e.home(vschema.Main)
		if !e.skipUnlessExists(h, seen) {
			return nil
		}
		vitessShards = len(h.vitessShards)
	}
	count, err := e.historyShards(ctx, seen)
	if err != nil || count == 0 {
		return err
	}
	switch {
	case count < vitessShards:
		seen.fail("%d history shards for %d Vitess shards: some Vitess shards stay empty", count, vitessShards)
	case count < vitessShards*fewHistoryShards:
		seen.warn("%d history shards for %d Vitess shards: fewer than %d each", count, vitessShards, fewHistoryShards)
	default:
		seen.pass("%d history shards for %d Vitess shards", count, vitessShards)
	}
	return nil
}

// How far a check of task rows goes without --full: pages of subqueues on each Vitess shard. Their order is that of a
// hash, so the first ones are as good as any.
const (
	subqueuesPerPage = 1000
	sampledPages     = 10
)

// The tables whose rows have the range_hash that differs between upstream's plugin and this one.
var taskTables = []string{"tasks", "tasks_v2"}

func checkTaskRows(ctx context.Context, e *examination, seen *observations) error {
	e.observeStructures(ctx)
	e.onEach(ctx, []*home{e.home(vschema.Main)}, seen, func(ctx context.Context, p place, session *sql.Conn, seen *observations) error {
		for _, table := range taskTables {
			if e.structures[p.String()][table] == nil {
				seen.skip("%s is missing: see %s", table, tables)
				continue
			}
			err := e.countSubqueues(ctx, session, table, seen)
			if err != nil && strings.Contains(err.Error(), deniedTables) {
				seen.skip("%s: the Vitess shard refuses what is asked of it: see moves", table)
			} else if err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
	return nil
}

// deniedTables is in the error of a vttablet that a MoveTables keeps from answering.
const deniedTables = "enforce denied tables"

// countSubqueues looks at the task queues and subqueues that have tasks: the distinct beginnings of the primary key,
// which MySQL finds without reading the rows between them.
func (e *examination) countSubqueues(ctx context.Context, session *sql.Conn, table string, seen *observations) error {
	all, foreign, more := 0, 0, true
	hash, id := uint32(0), []byte{}
	for page := 0; more && (page < sampledPages || e.Full); page++ {
		length := 0
		err := live.EachRow(ctx, session, "SELECT DISTINCT range_hash, task_queue_id FROM "+table+
			" WHERE range_hash > ? OR (range_hash = ? AND task_queue_id > ?) ORDER BY range_hash, task_queue_id LIMIT ?",
			[]any{hash, hash, id, subqueuesPerPage}, func() error {
				length++
				if taskqueue.RangeHash(id) != hash {
					foreign++
				}
				return nil
			}, &hash, &id)
		if err != nil {
			return err
		}
		all += length
		more = length == subqueuesPerPage
	}
	sample := ""
	if more {
		sample = ", the first ones (--full looks at all)"
	}
	if foreign > 0 {
		seen.fail("%s: of %d subqueues with tasks%s, %d are under upstream's range_hash", table, all, sample, foreign)
	} else {
		seen.pass("%s: %d subqueues with tasks%s, all under the plugin's range_hash", table, all, sample)
	}
	return nil
}

// largestSkew is how far clocks may be apart: far more than NTP leaves.
const largestSkew = time.Second

func checkClock(ctx context.Context, e *examination, seen *observations) error {
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, _ place, session *sql.Conn, seen *observations) error {
		before := e.Now()
		var theirs time.Time
		if err := session.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&theirs); err != nil {
			return err
		}
		after := e.Now()
		var skew time.Duration // 0 if their clock may have been read at any time between
		switch {
		case theirs.After(after):
			skew = theirs.Sub(after)
		case theirs.Before(before):
			skew = theirs.Sub(before)
		}
		if skew.Abs() > largestSkew {
			seen.warn("its clock is %s off this machine's", skew.Round(time.Millisecond))
		} else {
			seen.pass("its clock is this machine's, within %s", largestSkew)
		}
		return nil
	})
	return nil
}

// utc are names of the time zone without offset and summer time.
var utc = []string{"UTC", "ETC/UTC", "GMT", "+00:00"}

func checkTimeZone(ctx context.Context, e *examination, seen *observations) error {
	e.onEachVariables(ctx, seen, []string{"time_zone", "system_time_zone"}, func(values map[string]string, seen *observations) {
		zone := values["time_zone"]
		if zone == "SYSTEM" {
			zone = values["system_time_zone"]
		}
		if slices.Contains(utc, strings.ToUpper(zone)) {
			seen.pass("%s", zone)
		} else {
			seen.warn("%s", zone)
		}
	})
	return nil
}
