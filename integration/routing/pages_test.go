package routing

import (
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/internal/inventory"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// furtherPages returns the statements that the plugin sends after a SELECT whose first page was full. A recorder's
// answers are never that long, so they come from the router.
func furtherPages(t *testing.T, vitess *subject, profile vschema.Profile, stockCalls []call) []call {
	t.Helper()
	keyspaces := map[sqlplugin.DbKind][]vschema.Role{
		sqlplugin.DbKindMain:       {vschema.Main, vschema.Global},
		sqlplugin.DbKindVisibility: {vschema.Visibility},
	}
	routers := make(map[sqlplugin.DbKind]*router.Router)
	for kind, roles := range keyspaces {
		config := router.Config{Keyspaces: make(map[vschema.Role]string), Profile: profile, MaxRows: 1}
		for _, role := range roles {
			config.Keyspaces[role] = string(role)
		}
		var err error
		routers[kind], err = router.New(config)
		require.NoError(t, err)
	}
	var calls []call
	for _, c := range stockCalls {
		further := call{Name: c.Name + ", next page", ID: c.ID + ", next page", Kind: c.Kind}
		for _, s := range c.Statements {
			page := routers[c.Kind].Plan(s.SQL).Page
			if page == nil {
				continue
			}
			next := inventory.Statement{SQL: page.Next.SQL, Args: pageArguments(page, s.Args)}
			further.Statements = append(further.Statements, statement{next, vitess.database(c.Kind, next)})
		}
		if len(further.Statements) > 0 {
			calls = append(calls, further)
		}
	}
	require.NotEmpty(t, calls)
	return calls
}

// pageArguments are the values of a next page's placeholders, after a row with some key.
func pageArguments(page *router.Page, args []driver.Value) []driver.Value {
	available := append([]driver.Value{}, args...)
	for _, text := range page.KeyText {
		if text {
			available = append(available, "key")
		} else {
			available = append(available, int64(1))
		}
	}
	if page.Next.Args == nil {
		return available
	}
	var values []driver.Value
	for _, arg := range page.Next.Args {
		if arg.Index < 0 {
			values = append(values, arg.Text)
		} else {
			values = append(values, available[arg.Index])
		}
	}
	return values
}
