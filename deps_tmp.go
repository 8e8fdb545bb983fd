package tmp

import (
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jmoiron/sqlx"
	_ "github.com/stretchr/testify/require"
	_ "go.temporal.io/sdk/worker"
	_ "go.temporal.io/server/common/persistence/persistence-tests"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	_ "go.temporal.io/server/common/persistence/sql/sqlplugin/tests"
	_ "go.temporal.io/server/common/persistence/tests"
	_ "go.temporal.io/server/temporal"
	_ "go.temporal.io/server/tools/sql"
	_ "vitess.io/vitess/go/vt/sqlparser"
	_ "vitess.io/vitess/go/vt/vtgate/planbuilder"
	_ "vitess.io/vitess/go/vt/vtgate/vindexes"
	_ "vitess.io/vitess/go/cmd/vttestserver/cli"
	_ "vitess.io/vitess/go/vt/vttest"
)
