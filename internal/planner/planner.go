// Package planner tells where a live vtgate sends a statement, and how many Vitess shards that reaches.
//
// It asks vtgate itself, by VEXPLAIN PLAN: so plans are those of its version, its VSchema and its options, and nothing is
// executed. A plan names the values of a vindex but does not map them; that is done here, with Vitess' own vindexes and
// the key ranges of the keyspaces.
package planner

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"vitess.io/vitess/go/sqltypes"
	"vitess.io/vitess/go/vt/key"
	querypb "vitess.io/vitess/go/vt/proto/query"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"
	"vitess.io/vitess/go/vt/sqlparser"
	"vitess.io/vitess/go/vt/vtgate/vindexes"

	"github.com/temporal-vitess/temporal-vitess/internal/balance"
	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

// Route is where vtgate sends a statement.
type Route struct {
	// Keyspace is empty if the statement goes to none, or to several.
	Keyspace string `json:"keyspace,omitempty"`
	// Plan is vtgate's word for it, such as "Route EqualUnique"; several joined by " + " if the plan has parts.
	Plan string `json:"plan,omitempty"`
	// Vindex is the function and the columns that decide, such as "reverse_bits(shard_id)"; empty in an unsharded
	// keyspace and where no vindex decides.
	Vindex string `json:"vindex,omitempty"`
	// VitessShards is how many Vitess shards the statement goes to: at most, where that depends on values that are not
	// given. Of is how many there are in its keyspaces.
	VitessShards int `json:"vitess_shards"`
	Of           int `json:"of"`
	// Why says why the statement goes to several Vitess shards, or was refused.
	Why string `json:"why,omitempty"`
	// Refused reports that vtgate does not plan the statement, or fails it since a vindex refuses a value.
	Refused bool `json:"refused,omitempty"`
}

// Single reports whether the statement goes to one Vitess shard, or to none.
func (r *Route) Single() bool { return !r.Refused && r.VitessShards <= 1 }

// Planner asks a vtgate for its plans. It is for one goroutine, and remembers the VSchema that it saw first.
type Planner struct {
	vitess    *live.Vitess
	parser    *sqlparser.Parser
	keyspaces map[string]*servedKeyspace
}

// servedKeyspace is what a vtgate serves of a keyspace.
type servedKeyspace struct {
	vschema *vschemapb.Keyspace
	shards  []balance.Shard
}

// New returns a planner.
func New(vitess *live.Vitess) (*Planner, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	return &Planner{vitess: vitess, parser: parser, keyspaces: make(map[string]*servedKeyspace)}, nil
}

// Route returns where a statement goes: a SELECT, INSERT, UPDATE or DELETE whose tables are qualified with their
// keyspaces, and which may have ? placeholders. The arguments are the values of these, or none. That vtgate refuses the
// statement, or a vindex one of its values, is a Route, not an error.
func (p *Planner) Route(ctx context.Context, statement string, args []driver.Value) (*Route, error) {
	parsed, named, err := p.parser.Parse2(statement)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, statement)
	}
	values, err := inventory.BindVariables(args)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, statement)
	}
	tables := Tables(parsed)
	// Values in the text become named ones as well, so that those in the plan can be looked up.
	normalized, err := sqlparser.Normalize(parsed, sqlparser.NewReservedVars("value", named), values, true, "", -1, "", nil, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, statement)
	}
	var plan string
	err = p.vitess.DB.QueryRowContext(ctx, "VEXPLAIN PLAN "+sqlparser.String(normalized.AST)).Scan(&plan)
	if refusal := (*mysql.MySQLError)(nil); errors.As(err, &refusal) {
		return &Route{Refused: true, Why: fmt.Sprintf("vtgate refuses it: %v", err)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("VEXPLAIN PLAN: %w", err)
	}
	var root primitive
	if err := json.Unmarshal([]byte(plan), &root); err != nil {
		return nil, fmt.Errorf("VEXPLAIN PLAN of a vtgate that answers in another way: %w: %s", err, plan)
	}
	return p.add(ctx, root.parts(), tables, values)
}

// primitive is a part of vtgate's plan (engine.PrimitiveDescription).
type primitive struct {
	OperatorType string
	Variant      string
	Keyspace     *struct {
		Name    string
		Sharded bool
	}
	Vindex string
	// Values of the vindex's columns in conditions.
	Values []any
	// VindexValues has the values of each vindex's columns in the rows of an INSERT.
	VindexValues map[string]string
	Inputs       []primitive
}

// parts are the primitives that send something.
func (p primitive) parts() []primitive {
	var parts []primitive
	if p.Keyspace != nil {
		parts = append(parts, p)
	}
	for _, input := range p.Inputs {
		parts = append(parts, input.parts()...)
	}
	return parts
}

// add adds up the parts of a plan.
func (p *Planner) add(ctx context.Context, parts []primitive, tables []sqlparser.TableName, values map[string]*querypb.BindVariable) (*Route, error) {
	r := &Route{}
	reached := make(map[string]map[string]bool) // by keyspace, the Vitess shards
	var plans, functions, reasons []string
	for _, part := range parts {
		keyspace, err := p.keyspace(ctx, part.Keyspace.Name)
		if err != nil {
			return nil, err
		}
		if reached[part.Keyspace.Name] == nil {
			reached[part.Keyspace.Name] = make(map[string]bool)
			r.Of += len(keyspace.shards)
		}
		plans = append(plans, strings.TrimSpace(part.OperatorType+" "+part.Variant))
		names, function, reason, err := keyspace.reach(part, ofKeyspace(tables, part.Keyspace.Name), values)
		if err != nil {
			return &Route{Refused: true, Why: err.Error()}, nil
		}
		for _, name := range names {
			reached[part.Keyspace.Name][name] = true
		}
		if function != "" {
			functions = append(functions, function)
		}
		if reason != "" {
			reasons = append(reasons, reason)
		}
	}
	r.Plan = strings.Join(plans, " + ")
	r.Vindex = strings.Join(slices.Compact(functions), " + ")
	if len(reached) == 1 {
		r.Keyspace = parts[0].Keyspace.Name
	}
	for _, names := range reached {
		r.VitessShards += len(names)
	}
	if r.VitessShards > 1 {
		if len(parts) > 1 {
			reasons = append(reasons, fmt.Sprintf("the plan has %d parts", len(parts)))
		}
		r.Why = strings.Join(reasons, "; ")
	}
	return r, nil
}

func (p *Planner) keyspace(ctx context.Context, name string) (*servedKeyspace, error) {
	if known, ok := p.keyspaces[name]; ok {
		return known, nil
	}
	served, err := p.vitess.ServedVSchema(ctx, name)
	if err != nil {
		return nil, err
	}
	names, err := p.vitess.VitessShards(ctx, name)
	if err != nil {
		return nil, err
	}
	shards, err := balance.Named(names...)
	if err != nil {
		return nil, fmt.Errorf("keyspace %s: %w", name, err)
	}
	p.keyspaces[name] = &servedKeyspace{vschema: served, shards: shards}
	return p.keyspaces[name], nil
}

// Tables are the names of a statement's tables, with their keyspaces where it says them. They are as they were before they
// were quoted, unlike those of sqlparser.ExtractAllTables.
func Tables(statement sqlparser.Statement) []sqlparser.TableName {
	var tables []sqlparser.TableName
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		if expr, ok := node.(*sqlparser.AliasedTableExpr); ok {
			if name, ok := expr.Expr.(sqlparser.TableName); ok {
				tables = append(tables, name)
			}
		}
		return true, nil
	}, statement)
	return tables
}

// ofKeyspace are the tables of a keyspace without it.
func ofKeyspace(tables []sqlparser.TableName, keyspace string) []string {
	var names []string
	for _, table := range tables {
		if table.Qualifier.String() == keyspace {
			names = append(names, table.Name.String())
		}
	}
	return names
}

// decides says which columns divide the rows of tables, with their functions, such as "reverse_bits(shard_id)".
func (k *servedKeyspace) decides(tables []string) string {
	var columns []string
	for _, table := range tables {
		if column, vindex := compare.Primary(k.vschema, table); vindex != nil {
			columns = append(columns, fmt.Sprintf("%s(%s)", compare.Function(vindex), column))
		}
	}
	slices.Sort(columns)
	return strings.Join(slices.Compact(columns), ", ")
}

// Variants of plans, from vtgate's engine.Opcode and InsertOpcode.
const (
	variantNone        = "None"
	variantReference   = "Reference"
	variantNext        = "Next"
	variantDBA         = "DBA"
	variantEqualUnique = "EqualUnique"
	variantInsert      = "Sharded"
	variantIn          = "IN"
	variantMultiEqual  = "MultiEqual"
)

// reach returns the Vitess shards that a part of a plan goes to, what decided, and why there are several. Where that
// depends on values that are not given it returns as many as may be, with made-up names. A value that the vindex refuses
// is an error.
func (k *servedKeyspace) reach(part primitive, tables []string, values map[string]*querypb.BindVariable) (names []string, function, reason string, err error) {
	decides := k.decides(tables)
	if !part.Keyspace.Sharded {
		return []string{k.shards[0].Name}, "", "", nil
	}
	switch part.Variant {
	case variantNone:
		return nil, "", "", nil
	case variantReference, variantNext, variantDBA:
		return []string{"any"}, "", "", nil
	}
	if decides == "" {
		return k.all(), "", "no vindex divides its tables", nil
	}
	switch part.Variant {
	case variantEqualUnique, variantIn, variantMultiEqual, variantInsert:
		vindex, texts := k.decidingValues(part, tables)
		names, known, err := k.mapped(vindex, texts, values)
		switch {
		case err != nil:
			return nil, "", "", fmt.Errorf("vindex %s refuses a value of %s: %w", vindex, decides, err)
		case len(names) > 1 && known:
			reason = fmt.Sprintf("its values of %s belong to %d Vitess shards", decides, len(names))
		case len(names) > 1:
			reason = fmt.Sprintf("its values of %s may belong to %d Vitess shards", decides, len(names))
		}
		return names, decides, reason, nil
	default:
		return k.all(), "", fmt.Sprintf("no condition fixes the column of %s", decides), nil
	}
}

// all are the names of all Vitess shards.
func (k *servedKeyspace) all() []string {
	var names []string
	for _, shard := range k.shards {
		names = append(names, shard.Name)
	}
	return names
}

// decidingValues are the vindex of a part and the values that it maps, as the plan writes them.
func (k *servedKeyspace) decidingValues(part primitive, tables []string) (vindex string, texts []string) {
	if part.Variant == variantInsert {
		for _, table := range tables { // of which an INSERT of VALUES has one, with a vindex as decides says
			vindex = k.vschema.Tables[table].GetColumnVindexes()[0].Name
		}
		return vindex, strings.Split(part.VindexValues[vindex], ", ")
	}
	for _, value := range part.Values {
		texts = append(texts, strings.Split(strings.Trim(fmt.Sprint(value), "()"), ", ")...) // a list of values, or one
	}
	return part.Vindex, texts
}

// valueName matches how a plan names a value, with the introducer that may stand before it.
var valueName = regexp.MustCompile(`^(?:_\w+ ?)?::?(\w+)$`)

// mapped returns the Vitess shards of values, and whether all of these are known. One that is not counts as a Vitess shard
// to which no other leads, and a list as all. One that the vindex refuses is an error.
func (k *servedKeyspace) mapped(vindexName string, texts []string, values map[string]*querypb.BindVariable) (found []string, known bool, err error) {
	definition := k.vschema.Vindexes[vindexName]
	vindex, err := vindexes.CreateVindex(definition.GetType(), vindexName, definition.GetParams())
	known = err == nil && !vindex.NeedsVCursor()
	mappable := known
	names := make(map[string]bool)
	for _, text := range texts {
		name := valueName.FindStringSubmatch(text)
		switch {
		case mappable && name != nil && values[name[1]] != nil:
			shards, err := k.find(vindex, values[name[1]])
			if err != nil {
				return nil, false, err
			}
			for _, shard := range shards {
				names[shard] = true
			}
			continue
		case strings.HasPrefix(text, "::"):
			for _, shard := range k.shards {
				names[shard.Name] = true
			}
		default:
			names[vindexName+" of "+text] = true
		}
		known = false
	}
	found = slices.Sorted(maps.Keys(names))
	return found[:min(len(found), len(k.shards))], known, nil
}

// find maps a value, or each of a list of values, to Vitess shards.
func (k *servedKeyspace) find(vindex vindexes.Vindex, value *querypb.BindVariable) ([]string, error) {
	list := []sqltypes.Value{sqltypes.MakeTrusted(value.Type, value.Value)}
	if value.Type == querypb.Type_TUPLE {
		list = nil
		for _, element := range value.Values {
			list = append(list, sqltypes.ProtoToValue(element))
		}
	}
	var found []string
	for _, value := range list {
		destinations, err := vindexes.Map(context.Background(), vindex, nil, [][]sqltypes.Value{{value}})
		if err != nil {
			return nil, err
		}
		if keyspaceID, ok := destinations[0].(key.DestinationKeyspaceID); ok {
			found = append(found, k.shards[balance.Find(k.shards, keyspaceID)].Name)
		}
	}
	return found, nil
}
