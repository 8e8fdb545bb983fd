package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"vitess.io/vitess/go/cache/theine"
	"vitess.io/vitess/go/json2"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/streamlog"
	"vitess.io/vitess/go/vt/discovery"
	"vitess.io/vitess/go/vt/key"
	querypb "vitess.io/vitess/go/vt/proto/query"
	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	vtgatepb "vitess.io/vitess/go/vt/proto/vtgate"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/srvtopo"
	"vitess.io/vitess/go/vt/srvtopo/srvtopotest"
	"vitess.io/vitess/go/vt/topo/memorytopo"
	"vitess.io/vitess/go/vt/vtenv"
	"vitess.io/vitess/go/vt/vtgate"
	"vitess.io/vitess/go/vt/vtgate/engine"
	"vitess.io/vitess/go/vt/vtgate/executorcontext"
	"vitess.io/vitess/go/vt/vtgate/logstats"
	"vitess.io/vitess/go/vt/vtgate/vindexes"
	"vitess.io/vitess/go/vt/vttablet/sandboxconn"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const cell = "test"

// inProcessVTGate is vtgate's executor with its real planner, vindexes and transaction rules, set up as the project
// asks operators to run it (--no-scatter, transaction_mode=SINGLE). Its tablets answer nothing of interest; they
// remember which Vitess shard was asked.
type inProcessVTGate struct {
	executor  *vtgate.Executor
	keyspaces map[string]*vschema.Keyspace
	// tablets has one primary per Vitess shard, keyed by "keyspace/shard".
	tablets map[string]*sandboxconn.SandboxConn
	// routes are those of statements seen before, by text and values.
	routes map[string]route
}

// topology serves the keyspaces' key ranges from memory.
type topology struct {
	*srvtopotest.PassthroughSrvTopoServer
	keyspaces map[string]*topodatapb.SrvKeyspace
}

func (t *topology) GetSrvKeyspace(_ context.Context, _, keyspace string) (*topodatapb.SrvKeyspace, error) {
	srvKeyspace, ok := t.keyspaces[keyspace]
	if !ok {
		return nil, fmt.Errorf("topology has no keyspace %q", keyspace)
	}
	return srvKeyspace, nil
}

// trackedSchema tells the planner the columns of the tables, as vtgate's schema tracker learns them from vttablets.
type trackedSchema struct{}

func (trackedSchema) Tables(keyspace string) map[string]*vindexes.TableInfo {
	keyspaceSchema, err := schema.Load(vschema.Role(keyspace))
	if err != nil {
		panic(err) // package schema tests its embedded files
	}
	tables := make(map[string]*vindexes.TableInfo)
	for _, table := range keyspaceSchema.Tables {
		info := &vindexes.TableInfo{}
		for _, column := range table.Columns {
			info.Columns = append(info.Columns, vindexes.Column{Name: sqlparser.NewIdentifierCI(column.Name)})
		}
		tables[table.Name] = info
	}
	return tables
}

func (trackedSchema) Views(string) map[string]sqlparser.TableStatement { return nil }
func (trackedSchema) UDFs(string) []string                             { return nil }

// newVTGate starts a vtgate over the embedded VSchema with the given number of Vitess shards per sharded keyspace.
func newVTGate(t *testing.T, profile vschema.Profile, vitessShards int) *inProcessVTGate {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v := &inProcessVTGate{
		keyspaces: make(map[string]*vschema.Keyspace),
		tablets:   make(map[string]*sandboxconn.SandboxConn),
		routes:    make(map[string]route),
	}
	serv := &topology{
		PassthroughSrvTopoServer: srvtopotest.NewPassthroughSrvTopoServer(),
		keyspaces:                make(map[string]*topodatapb.SrvKeyspace),
	}
	serv.TopoServer = memorytopo.NewServer(ctx, cell)
	serv.WatchedSrvVSchema = &vschemapb.SrvVSchema{Keyspaces: make(map[string]*vschemapb.Keyspace)}
	healthCheck := discovery.NewFakeHealthCheck(nil)

	for _, role := range vschema.Roles() {
		name := string(role)
		data, err := vschema.JSON(role, profile)
		require.NoError(t, err)
		keyspace := &vschemapb.Keyspace{}
		require.NoError(t, json2.UnmarshalPB(data, keyspace))
		serv.WatchedSrvVSchema.Keyspaces[name] = keyspace
		serv.SrvKeyspaceNames = append(serv.SrvKeyspaceNames, name)
		v.keyspaces[name], err = vschema.Load(role, profile)
		require.NoError(t, err)

		shards := 1
		if keyspace.Sharded {
			shards = vitessShards
		}
		var references []*topodatapb.ShardReference
		for i := range shards {
			keyRange, err := key.EvenShardsKeyRange(i, shards)
			require.NoError(t, err)
			shard := key.KeyRangeString(keyRange)
			references = append(references, &topodatapb.ShardReference{Name: shard, KeyRange: keyRange})
			tablet := healthCheck.AddTestTablet(cell, name+"/"+shard, 1, name, shard, topodatapb.TabletType_PRIMARY, true, 1, nil)
			tablet.RequireQueriesLocking()
			v.tablets[name+"/"+shard] = tablet
		}
		serv.keyspaces[name] = &topodatapb.SrvKeyspace{Partitions: []*topodatapb.SrvKeyspace_KeyspacePartition{
			{ServedType: topodatapb.TabletType_PRIMARY, ShardReferences: references},
		}}
	}

	gateway := vtgate.NewTabletGateway(ctx, healthCheck, serv, cell)
	txConn := vtgate.NewTxConn(gateway, &vtgate.StaticConfig{TxMode: vtgatepb.TransactionMode_SINGLE})
	resolver := vtgate.NewResolver(srvtopo.NewResolver(serv, gateway, cell), serv, cell, vtgate.NewScatterConn("", txConn, gateway))
	v.executor = vtgate.NewExecutor(ctx, vtenv.NewTestEnv(), serv, cell, resolver,
		vtgate.ExecutorConfig{Name: fmt.Sprintf("%s-%d", profile, vitessShards), Normalize: true, StreamSize: 10, AllowScatter: false},
		false, theine.NewStore[vtgate.PlanCacheKey, *engine.Plan](4<<20, false), trackedSchema{},
		querypb.ExecuteOptions_Gen4, vtgate.NewDynamicViperConfig())
	v.executor.SetQueryLogger(streamlog.New[*logstats.LogStats]("VTGate", 1))
	t.Cleanup(func() {
		v.executor.Close()
		cancel()
	})
	return v
}

// route is where vtgate sends a statement.
type route struct {
	// Plan is vtgate's word for the plan, such as "Route EqualUnique"; several words if the plan has several parts.
	Plan     string
	Keyspace string
	// Column is the sharding column of the statement's tables, "" for an unsharded keyspace.
	Column string
	// Shards are the Vitess shards ("keyspace/range") that received the statement.
	Shards []string
	// Sent is what a Vitess shard received.
	Sent string
	// Refused is vtgate's error if it does not plan or execute the statement.
	Refused string
}

// route plans and executes a statement and reports where it went.
func (v *inProcessVTGate) route(s statement) route {
	key := fmt.Sprint(s.Database, s.SQL, s.Args)
	known, ok := v.routes[key]
	if !ok {
		known = v.execute(s)
		v.routes[key] = known
	}
	return known
}

func (v *inProcessVTGate) execute(s statement) route {
	ctx := context.Background()
	session := executorcontext.NewAutocommitSession(&vtgatepb.Session{TargetString: s.Database, Autocommit: true})
	plan, err := v.executor.PlanPrepareStmt(ctx, session, s.SQL)
	if err != nil {
		return route{Refused: firstLine(err)}
	}
	r := v.describe(plan)
	bindVars, err := inventory.BindVariables(s.Args)
	if err != nil {
		r.Refused = err.Error()
		return r
	}
	if s.isQuery() {
		for _, tablet := range v.tablets {
			tablet.SetResults([]*sqltypes.Result{noRows})
		}
	}
	_, err = v.executor.Execute(ctx, nil, "Execute", session, s.SQL, bindVars, true)
	for name, tablet := range v.tablets {
		if queries := tablet.GetQueries(); len(queries) > 0 {
			r.Shards = append(r.Shards, name)
			r.Sent = queries[0].Sql
		}
		tablet.ClearQueries()
		tablet.SetResults(nil)
	}
	slices.Sort(r.Shards)
	if err != nil {
		r.Refused = firstLine(err)
	}
	return r
}

// noRows is a result with more columns than any plan looks at; the row that a sandbox tablet makes up does not fit every
// plan.
var noRows = &sqltypes.Result{Fields: slices.Repeat([]*querypb.Field{{Type: querypb.Type_VARBINARY}}, 64)}

// describe reads keyspace, sharding column and kind of route from a plan.
func (v *inProcessVTGate) describe(plan *engine.Plan) route {
	var r route
	var parts []string
	var visit func(engine.PrimitiveDescription)
	visit = func(d engine.PrimitiveDescription) {
		if d.Keyspace != nil {
			r.Keyspace = d.Keyspace.Name
			parts = append(parts, strings.TrimSpace(d.OperatorType+" "+d.Variant))
		}
		for _, input := range d.Inputs {
			visit(input)
		}
	}
	visit(engine.PrimitiveToPlanDescription(plan.Instructions, nil))
	r.Plan = strings.Join(parts, " + ")

	var columns []string
	for _, table := range plan.TablesUsed {
		keyspace, name, _ := strings.Cut(table, ".")
		if ks, ok := v.keyspaces[keyspace]; ok && ks.Sharded {
			columns = append(columns, ks.Tables[name].ShardingColumn())
		}
	}
	slices.Sort(columns)
	r.Column = strings.Join(slices.Compact(columns), ", ")
	return r
}

// firstLine is an error without what differs from run to run: the list of Vitess shards of a transaction.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	line, _, _ = strings.Cut(line, ": [target:")
	return line
}
