package live

import (
	"context"
	"database/sql"
)

// Queryer is a session, or a pool of them.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// EachRow reads each row of a query into the targets, and calls row for it. It ends with the first error.
func EachRow(ctx context.Context, on Queryer, query string, args []any, row func() error, targets ...any) error {
	return eachRow(ctx, on, query, args, func([]string) []any { return targets }, row)
}

// EachText calls row with each row of a query whose columns need not be known: their names, and their values as text,
// empty for NULL.
func EachText(ctx context.Context, on Queryer, query string, row func(names, values []string)) error {
	var names []string
	var read []sql.NullString
	return eachRow(ctx, on, query, nil, func(columns []string) []any {
		names, read = columns, make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range read {
			targets[i] = &read[i]
		}
		return targets
	}, func() error {
		values := make([]string, len(read))
		for i := range read {
			values[i] = read[i].String
		}
		row(names, values)
		return nil
	})
}

// Column returns the values of a query's only column.
func Column(ctx context.Context, on Queryer, query string) ([]string, error) {
	var values []string
	var value string
	err := EachRow(ctx, on, query, nil, func() error {
		values = append(values, value)
		return nil
	}, &value)
	return values, err
}

func eachRow(ctx context.Context, on Queryer, query string, args []any, targets func(columns []string) []any, row func() error) error {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	into := targets(columns)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := row(); err != nil {
			return err
		}
	}
	return rows.Err()
}
