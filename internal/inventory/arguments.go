package inventory

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/dgryski/go-farm"
	"github.com/iancoleman/strcase"
	"go.temporal.io/server/chasm"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// argumentSets returns the sets of arguments to call a method with: all combinations of what its parameters can be.
// The row number varies whatever is not the sharding key.
func argumentSets(method reflect.Type, row int) [][]reflect.Value {
	sets := [][]reflect.Value{{}}
	for i := range method.NumIn() {
		var extended [][]reflect.Value
		for _, set := range sets {
			for _, value := range parameterValues(method.In(i), row) {
				extended = append(extended, append(slices.Clone(set), value))
			}
		}
		sets = extended
	}
	return sets
}

func parameterValues(t reflect.Type, row int) []reflect.Value {
	switch {
	case t == reflect.TypeFor[context.Context]():
		return []reflect.Value{reflect.ValueOf(context.Background())}
	case t == reflect.TypeFor[sqlplugin.MatchingTaskVersion]():
		return []reflect.Value{reflect.ValueOf(sqlplugin.MatchingTaskVersion1), reflect.ValueOf(sqlplugin.MatchingTaskVersion2)}
	case t == reflect.TypeFor[sqlplugin.VisibilitySelectFilter]():
		return visibilitySelectFilters()
	case t.Kind() == reflect.Struct:
		return structVariants(t, row)
	case t.Kind() == reflect.Pointer:
		var values []reflect.Value
		for _, value := range structVariants(t.Elem(), row) {
			pointer := reflect.New(t.Elem())
			pointer.Elem().Set(value)
			values = append(values, pointer)
		}
		return values
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		var values []reflect.Value
		for _, length := range []int{1, 3} {
			rows := reflect.MakeSlice(t, length, length)
			for i := range length {
				fillStruct(rows.Index(i), row+i)
			}
			values = append(values, rows)
		}
		return values
	default:
		value := reflect.New(t).Elem()
		fill(value, "", row)
		return []reflect.Value{value}
	}
}

// keyFields are never left out: they are the sharding keys and parts of primary keys.
var keyFields = []string{"ShardID", "RangeHash", "NamespaceID", "RunID"}

// choices are fields whose value selects the table or statement.
var choices = map[string][]any{
	"ArchetypeID": {chasm.WorkflowArchetypeID, chasm.WorkflowArchetypeID + 1},
}

// isList says that a type is a list of values.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8
}

// structVariants returns a struct with its fields set, and then with fields left out, since a field that is nil or zero
// often selects another statement: every subset of the optional fields if there are few, else none, each alone, and
// all but each.
func structVariants(t reflect.Type, row int) []reflect.Value {
	full := reflect.New(t).Elem()
	fillStruct(full, row)
	bases := []reflect.Value{full}
	var optional []int
	for i := range t.NumField() {
		field := t.Field(i)
		if values, ok := choices[field.Name]; ok {
			bases = nil
			for _, value := range values {
				base := reflect.New(t).Elem()
				base.Set(full)
				base.Field(i).Set(reflect.ValueOf(value).Convert(field.Type))
				bases = append(bases, base)
			}
		} else if !slices.Contains(keyFields, field.Name) && !field.Anonymous {
			optional = append(optional, i)
		}
	}
	var variants []reflect.Value
	for _, base := range bases {
		for _, omitted := range omissions(len(optional)) {
			variant := reflect.New(t).Elem()
			variant.Set(base)
			for i, field := range optional {
				switch value := variant.Field(field); {
				case !omitted[i]:
				case isList(value.Type()):
					value.Set(value.Slice(0, 1)) // upstream never passes an empty one
				default:
					value.SetZero()
				}
			}
			variants = append(variants, variant)
		}
	}
	return variants
}

// omissions says which of n optional fields to leave out: nothing first.
func omissions(n int) [][]bool {
	if n <= 7 {
		sets := make([][]bool, 1<<n)
		for bits := range sets {
			sets[bits] = make([]bool, n)
			for i := range n {
				sets[bits][i] = bits>>i&1 == 1
			}
		}
		return sets
	}
	sets := [][]bool{make([]bool, n), slices.Repeat([]bool{true}, n)}
	for i := range n {
		one := make([]bool, n)
		one[i] = true
		allButOne := slices.Repeat([]bool{true}, n)
		allButOne[i] = false
		sets = append(sets, one, allButOne)
	}
	return sets
}

const (
	historyShardID = 7

	namespaceName = "test-namespace"
	namespaceID   = "8d9b1a7e-6f0c-4a55-9d43-2f1c55d0b7aa"
	runID         = "1b2f3c4d-5e6f-4711-8899-aabbccddeeff"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

func fillStruct(v reflect.Value, row int) {
	for i := range v.NumField() {
		fill(v.Field(i), v.Type().Field(i).Name, row)
	}
	// Upstream hashes each subqueue's own id (taskQueueIdAndHash in common/persistence/sql/task_util.go).
	if hash, id := v.FieldByName("RangeHash"), v.FieldByName("TaskQueueID"); hash.IsValid() && id.IsValid() {
		hash.SetUint(uint64(farm.Fingerprint32(id.Bytes())))
	}
}

// fill sets a plausible non-zero value. Sharding keys are the same in every row, as in any batch that upstream writes:
// one history shard, one namespace, one task queue; the rest differs.
func fill(v reflect.Value, name string, row int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(someTime))
		return
	case name == "RangeHashLessThanEqualTo":
		v.SetUint(math.MaxUint32 / 2)
		return
	case name == "TaskQueueID" || name == "TaskQueueIDGreaterThan":
		v.SetBytes(taskQueueID(row))
		return
	}
	switch v.Kind() {
	case reflect.String:
		switch name {
		case "NamespaceID":
			v.SetString(namespaceID)
		case "RunID":
			v.SetString(runID)
		case "": // a parameter: the name of a database or table, or a version
			v.SetString("temporal")
		default:
			v.SetString(fmt.Sprintf("%s-%d", strcase.ToKebab(name), row))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if name == "ShardID" {
			v.SetInt(historyShardID)
			return
		}
		v.SetInt(int64(7 + row))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(7 + row))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name, row)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case reflect.Struct:
		fillStruct(v, row)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			id := []byte("0123456789abcdef")
			if !slices.Contains(keyFields, name) {
				id[0] += byte(row)
			}
			v.SetBytes(id)
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), name, i)
		}
	default:
		panic(fmt.Sprintf("arguments.go has no value for field %s of type %s", name, v.Type()))
	}
}

// taskQueueID is the id of a subqueue of one task queue, as taskQueueId in common/persistence/sql/task_util.go makes it.
func taskQueueID(subqueue int) []byte {
	const workflow, hasSubqueue = 1, 0x80
	id := []byte("0123456789abcdef" + "a task queue")
	if subqueue == 0 {
		return append(id, workflow)
	}
	return binary.AppendUvarint(append(id, workflow|hasSubqueue), uint64(subqueue))
}

// visibilitySelectFilters are the filters without a query, which upstream's GenerateSelectQuery turns into SQL. Filters
// with a query come from the visibility store: see [Plugin.Queries].
func visibilitySelectFilters() []reflect.Value {
	full := sqlplugin.VisibilitySelectFilter{
		NamespaceID:      namespaceID,
		RunID:            new(runID),
		WorkflowID:       new("workflow"),
		WorkflowTypeName: new("type"),
		PageSize:         new(10),
	}
	var filters []reflect.Value
	for _, status := range []int32{0, 1, 2} {
		for _, paging := range []bool{false, true} {
			for _, narrow := range []bool{false, true} {
				filter := full
				filter.Status = status
				if paging {
					filter.MinTime, filter.MaxTime = new(someTime), new(someTime.Add(time.Hour))
				}
				if !narrow {
					filter.WorkflowID, filter.WorkflowTypeName = nil, nil
				}
				filters = append(filters, reflect.ValueOf(filter))
			}
		}
	}
	return filters
}
