package plugin

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/conn"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// optionPrefix starts the names of the plugin's own options among the connectAttributes.
const optionPrefix = "vitess_"

// The plugin's options.
const (
	optionGlobalKeyspace    = optionPrefix + "global_keyspace"
	optionVisibilityProfile = optionPrefix + "visibility_profile"
	optionVisibilityQueries = optionPrefix + "visibility_queries"
	optionMaxRows           = optionPrefix + "max_rows"
	optionUnknownStatements = optionPrefix + "unknown_statements"
	optionPipelining        = optionPrefix + "pipelining"
	optionSubqueueTasks     = optionPrefix + "subqueue_tasks"
)

// Options are the connectAttributes of a store that are the plugin's own.
type Options struct {
	// GlobalKeyspace is the unsharded keyspace of the main store (vitess_global_keyspace). The default is the
	// databaseName with _global after it. On a set-up with one database for all, name that one.
	GlobalKeyspace string
	// VisibilityProfile is the VSchema profile of the visibility store's keyspace (vitess_visibility_profile):
	// namespace, the default, or spread.
	VisibilityProfile vschema.Profile
	// UpstreamQueries sends lists and counts of visibility as upstream writes them (vitess_visibility_queries: upstream). By default
	// (tuned) they are without joins that change nothing, and name their index where MySQL does not find it.
	UpstreamQueries bool
	// MaxRows is how many rows a statement returns or deletes at most before the plugin goes on with another
	// (vitess_max_rows). It has to be at most the --queryserver-config-max-result-size of the vttablets, whose default,
	// 10000, is the default here.
	MaxRows int
	// RejectUnknown makes a statement that cannot be routed to one Vitess shard an error (vitess_unknown_statements:
	// reject). By default (pass) it is logged, counted and sent as it is.
	RejectUnknown bool
	// Pipelining is what saves round trips (vitess_pipelining: on, the default, off, or a list of ways; see pipeliningWays).
	Pipelining conn.Pipelining
	// SubqueueTasks says where the main store has the tasks of subqueues (vitess_subqueue_tasks).
	SubqueueTasks SubqueueTasks
}

// parseOptions reads the options of a store. An unknown or impossible one is an error that names it.
func parseOptions(kind sqlplugin.DbKind, cfg *config.SQL) (Options, error) {
	options := Options{
		GlobalKeyspace:    cfg.DatabaseName + "_global",
		VisibilityProfile: vschema.ProfileNamespace,
		MaxRows:           router.DefaultMaxRows,
		Pipelining:        conn.DefaultPipelining,
		SubqueueTasks:     SubqueueTasksVitess,
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.ConnectAttributes)) {
		if !strings.HasPrefix(name, optionPrefix) {
			continue
		}
		value := strings.TrimSpace(cfg.ConnectAttributes[name])
		impossible := func(want string) error {
			return fmt.Errorf("connectAttributes: %s is %q, but has to be %s", name, value, want)
		}
		switch name {
		case optionGlobalKeyspace:
			if value == "" {
				return Options{}, impossible("the name of a keyspace; leave it out for " + options.GlobalKeyspace)
			}
			if kind == sqlplugin.DbKindVisibility {
				return Options{}, fmt.Errorf("connectAttributes: %s belongs to the main store, the visibility store has one keyspace: its databaseName", name)
			}
			options.GlobalKeyspace = value
		case optionVisibilityProfile:
			options.VisibilityProfile = vschema.Profile(value)
			if !slices.Contains(vschema.Profiles(), options.VisibilityProfile) {
				return Options{}, impossible(fmt.Sprintf("one of %v", vschema.Profiles()))
			}
			if kind == sqlplugin.DbKindMain {
				return Options{}, fmt.Errorf("connectAttributes: %s belongs to the visibility store", name)
			}
		case optionVisibilityQueries:
			if value != "tuned" && value != "upstream" {
				return Options{}, impossible("tuned or upstream")
			}
			if kind == sqlplugin.DbKindMain {
				return Options{}, fmt.Errorf("connectAttributes: %s belongs to the visibility store", name)
			}
			options.UpstreamQueries = value == "upstream"
		case optionMaxRows:
			rows, err := strconv.Atoi(value)
			if err != nil || rows < 1 {
				return Options{}, impossible("a number of rows, 1 or more")
			}
			options.MaxRows = rows
		case optionUnknownStatements:
			if value != "pass" && value != "reject" {
				return Options{}, impossible("pass or reject")
			}
			options.RejectUnknown = value == "reject"
		case optionPipelining:
			ways, ok := parsePipelining(value)
			if !ok {
				return Options{}, impossible(pipeliningValues())
			}
			options.Pipelining = ways
		case optionSubqueueTasks:
			options.SubqueueTasks = SubqueueTasks(value)
			if !slices.Contains(allSubqueueTasks, options.SubqueueTasks) {
				return Options{}, impossible(fmt.Sprintf("one of %v", allSubqueueTasks))
			}
			if kind == sqlplugin.DbKindVisibility {
				return Options{}, fmt.Errorf("connectAttributes: %s belongs to the main store, the visibility store has no tasks", name)
			}
		default:
			return Options{}, fmt.Errorf("connectAttributes: there is no option %s; there are %s", name, strings.Join(
				[]string{optionGlobalKeyspace, optionVisibilityProfile, optionVisibilityQueries, optionMaxRows, optionUnknownStatements, optionPipelining, optionSubqueueTasks}, ", "))
		}
	}
	return options, nil
}

// pipeliningWays are the ways to save round trips, as vitess_pipelining names them.
var pipeliningWays = []struct {
	name string
	way  conn.Pipelining
}{
	{"packets", conn.Packets},
	{"reads", conn.Reads},
	{"locks", conn.Locks},
	{"look-ahead", conn.LookAhead},
	{"history", conn.History},
}

// parsePipelining returns what a value of vitess_pipelining means.
func parsePipelining(value string) (ways conn.Pipelining, ok bool) {
	switch value {
	case "on":
		return conn.DefaultPipelining, true
	case "off":
		return 0, true
	}
	for name := range strings.SplitSeq(value, ",") {
		known := false
		for _, w := range pipeliningWays {
			if w.name == strings.TrimSpace(name) {
				ways, known = ways|w.way, true
			}
		}
		if !known {
			return 0, false
		}
	}
	return ways, ways.Has(conn.Packets)
}

func pipeliningValues() string {
	var others []string
	for _, w := range pipeliningWays[1:] {
		others = append(others, w.name)
	}
	return fmt.Sprintf("on, off, or packets and what it is to have besides: packets,%s", strings.Join(others, ","))
}

// newRouter returns the router for a store, nil for tools that work on any schema (sqlplugin.DbKindUnknown).
func newRouter(kind sqlplugin.DbKind, databaseName string, options Options) (*router.Router, error) {
	keyspaces := map[vschema.Role]string{}
	switch kind {
	case sqlplugin.DbKindMain:
		keyspaces[vschema.Main] = databaseName
		keyspaces[vschema.Global] = options.GlobalKeyspace
	case sqlplugin.DbKindVisibility:
		keyspaces[vschema.Visibility] = databaseName
	default:
		return nil, nil
	}
	return router.New(router.Config{
		Keyspaces: keyspaces, Profile: options.VisibilityProfile, MaxRows: options.MaxRows,
		MainUnsharded: options.SubqueueTasks != SubqueueTasksVitess, UpstreamQueries: options.UpstreamQueries,
	})
}
