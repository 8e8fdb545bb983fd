package routing

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// call is what one method sent when it was called with one set of arguments.
type call struct {
	// Name is the method's name with what sets it apart from the same method's other callers.
	Name string
	// ID is the same for the same call of another subject.
	ID string
	// Kind is the store that the statements belong to.
	Kind       sqlplugin.DbKind
	Statements []statement
}

// sentByQueries are the methods that send the text of a query: see [subject.driveQueries].
var sentByQueries = []string{"CountFromVisibility", "CountGroupByFromVisibility"}

// driveMethods calls every method of the plugin's DB, Tx and AdminDB with every set of arguments that may select a
// different statement.
func (s *subject) driveMethods(t *testing.T) []call {
	t.Helper()
	var calls []call
	visibility := reflect.TypeFor[sqlplugin.Visibility]()
	for method := range reflect.TypeFor[sqlplugin.TableCRUD]().Methods() {
		if slices.Contains(sentByQueries, method.Name) {
			continue
		}
		db, kind := s.main, sqlplugin.DbKindMain
		if _, ok := visibility.MethodByName(method.Name); ok {
			db, kind = s.visibility, sqlplugin.DbKindVisibility
		}
		sets := argumentSets(method.Type, 0)
		calls = append(calls, s.drive(t, method.Name, "", kind, "DB", db, sets)...)
		tx, err := db.BeginTx(context.Background())
		require.NoError(t, err)
		calls = append(calls, s.drive(t, method.Name, "", kind, "Tx", tx, sets)...)
		require.NoError(t, tx.Rollback())
	}
	for method := range reflect.TypeFor[sqlplugin.AdminCRUD]().Methods() {
		if method.Name == "Exec" {
			continue // sends what it is given
		}
		for _, kind := range storeKinds {
			suffix := fmt.Sprintf(" of the %s store", kind)
			calls = append(calls, s.drive(t, method.Name, suffix, kind, "AdminDB", s.admin[kind], argumentSets(method.Type, 0))...)
		}
	}
	return calls
}

// drive calls one method of a receiver, which is the given interface, with each set of arguments.
func (s *subject) drive(t *testing.T, method, suffix string, kind sqlplugin.DbKind, of string, receiver any, sets [][]reflect.Value) []call {
	t.Helper()
	var calls []call
	for i, arguments := range sets {
		err := invoke(receiver, method, arguments)
		statements := s.sent(kind)
		if len(statements) == 0 {
			continue // the method refuses these arguments
		}
		require.NoError(t, err, "%s%v", method, arguments)
		calls = append(calls, call{
			Name:       method + suffix,
			ID:         fmt.Sprintf("%s.%s%s %d", of, method, suffix, i),
			Kind:       kind,
			Statements: statements,
		})
	}
	require.NotEmpty(t, calls, "%s sends nothing whatever its arguments are: teach arguments_test.go a value that it takes", method)
	return calls
}

// invoke calls a method and returns its error. A method that panics did not like its arguments, and one that finds no
// row found what the recorder has.
func invoke(receiver any, method string, arguments []reflect.Value) (err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = fmt.Errorf("panic: %v", recovered)
		}
	}()
	results := reflect.ValueOf(receiver).MethodByName(method).Call(arguments)
	err, _ = results[len(results)-1].Interface().(error)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
