package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// Call is what one method sent when it was called with one set of arguments.
type Call struct {
	// Name is the method's name with what sets it apart from the same method's other callers.
	Name string
	// ID is the same for the same call of another subject.
	ID string
	// Kind is the store that the statements belong to.
	Kind       sqlplugin.DbKind
	Statements []Statement
}

// sentByQueries are the methods that send the text of a query: see [Plugin.Queries].
var sentByQueries = []string{"CountFromVisibility", "CountGroupByFromVisibility"}

// Methods calls every method of the plugin's DB, Tx and AdminDB with every set of arguments that may select a different
// statement.
func (p *Plugin) Methods() ([]Call, error) {
	var calls []Call
	visibility := reflect.TypeFor[sqlplugin.Visibility]()
	for method := range reflect.TypeFor[sqlplugin.TableCRUD]().Methods() {
		if slices.Contains(sentByQueries, method.Name) {
			continue
		}
		db, kind := p.main, sqlplugin.DbKindMain
		if _, ok := visibility.MethodByName(method.Name); ok {
			db, kind = p.visibility, sqlplugin.DbKindVisibility
		}
		sets := argumentSets(method.Type, 0)
		sent, err := p.drive(method.Name, "", kind, "DB", db, sets)
		if err != nil {
			return nil, err
		}
		calls = append(calls, sent...)
		tx, err := db.BeginTx(context.Background())
		if err != nil {
			return nil, err
		}
		sent, err = p.drive(method.Name, "", kind, "Tx", tx, sets)
		if err = errors.Join(err, tx.Rollback()); err != nil {
			return nil, err
		}
		calls = append(calls, sent...)
	}
	for method := range reflect.TypeFor[sqlplugin.AdminCRUD]().Methods() {
		if method.Name == "Exec" {
			continue // sends what it is given
		}
		for _, kind := range storeKinds {
			suffix := fmt.Sprintf(" of the %s store", kind)
			sent, err := p.drive(method.Name, suffix, kind, "AdminDB", p.admin[kind], argumentSets(method.Type, 0))
			if err != nil {
				return nil, err
			}
			calls = append(calls, sent...)
		}
	}
	return calls, nil
}

// Drive calls every method of an interface of the main store's DB. The row numbers what is not the sharding key: with
// different rows, matching's calls are about different subqueues of one task queue.
func (p *Plugin) Drive(of reflect.Type, row int) ([]Call, error) {
	var calls []Call
	for method := range of.Methods() {
		sent, err := p.drive(method.Name, "", sqlplugin.DbKindMain, "DB", p.main, argumentSets(method.Type, row))
		if err != nil {
			return nil, err
		}
		calls = append(calls, sent...)
	}
	return calls, nil
}

// drive calls one method of a receiver, which is the given interface, with each set of arguments.
func (p *Plugin) drive(method, suffix string, kind sqlplugin.DbKind, of string, receiver any, sets [][]reflect.Value) ([]Call, error) {
	var calls []Call
	for i, arguments := range sets {
		err := invoke(receiver, method, arguments)
		statements := p.recorder.take()
		if len(statements) == 0 {
			continue // the method refuses these arguments
		}
		if err != nil {
			return nil, fmt.Errorf("%s%v: %w", method, arguments, err)
		}
		calls = append(calls, Call{
			Name:       method + suffix,
			ID:         fmt.Sprintf("%s.%s%s %d", of, method, suffix, i),
			Kind:       kind,
			Statements: statements,
		})
	}
	if calls == nil {
		return nil, fmt.Errorf("%s sends nothing whatever its arguments are: teach internal/inventory/arguments.go a value that it takes", method)
	}
	return calls, nil
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
