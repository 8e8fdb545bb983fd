package migrate

import (
	"context"
	"fmt"

	"vitess.io/vitess/go/sqltypes"
	querypb "vitess.io/vitess/go/vt/proto/query"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
)

// mostRows bounds what a statement to a mysqld may return.
const mostRows = 1_000_000

// dba executes a statement on a primary's mysqld, as vttablet's user for such things: past vtgate, and past what the tablet denies.
func (m *Migration) dba(ctx context.Context, on primary, statement string) (*sqltypes.Result, error) {
	response, err := m.Vitess.VTCtld.ExecuteFetchAsDBA(ctx, &vtctldatapb.ExecuteFetchAsDBARequest{TabletAlias: on.Alias, Query: statement, MaxRows: mostRows})
	return result(on, statement, response.GetResult(), err)
}

// app executes a statement on a primary's mysqld as the user that serves vtgates.
func (m *Migration) app(ctx context.Context, on primary, statement string) (*sqltypes.Result, error) {
	response, err := m.Vitess.VTCtld.ExecuteFetchAsApp(ctx, &vtctldatapb.ExecuteFetchAsAppRequest{TabletAlias: on.Alias, Query: statement, MaxRows: mostRows})
	return result(on, statement, response.GetResult(), err)
}

func result(on primary, statement string, rows *querypb.QueryResult, err error) (*sqltypes.Result, error) {
	if err != nil {
		const shown = 120
		return nil, fmt.Errorf("%s: %.*s: %w", on, shown, statement, err)
	}
	return sqltypes.Proto3ToResult(rows), nil
}

// column returns the values of a query's first column.
func (m *Migration) column(ctx context.Context, on primary, query string) ([]string, error) {
	rows, err := m.dba(ctx, on, query)
	if err != nil {
		return nil, err
	}
	var values []string
	for _, row := range rows.Rows {
		values = append(values, row[0].ToString())
	}
	return values, nil
}
