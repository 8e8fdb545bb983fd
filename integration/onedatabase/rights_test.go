package onedatabase

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/server"
	"github.com/temporal-vitess/temporal-vitess/integration/workflows/kinds"
)

// The rights that a server's user needs are in the documentation, which is what this test gives it.
func TestAServerNeedsFewRights(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	grant := regexp.MustCompile(`(?m)^GRANT .*$`).FindString(string(page))
	require.NotEmpty(t, grant)
	s := setup{main: "few_rights", visibility: "few_rights", plain: true}
	s.create(t)
	out, err := s.tool(t, "setup-schema")
	require.NoError(t, err, out)
	const user = "few"
	execute(t, s.main, "CREATE USER '"+user+"'@'%'", strings.NewReplacer("ON temporal.*", "ON few_rights.*", "'temporal'", "'"+user+"'@'%'").Replace(grant))

	main, visibility := s.stores()
	main.User, visibility.User = user, user
	db, err := cluster.Open(user, main.ConnectAddr, s.main)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("DROP TABLE shards")
	require.ErrorContains(t, err, "denied", "the user has other rights")

	temporal, err := server.Start(t.Context(), server.Config{Main: main, Visibility: visibility, HistoryShards: 4})
	require.NoError(t, err)
	defer func() { require.NoError(t, temporal.Stop()) }()
	const namespace = "few-rights"
	require.NoError(t, temporal.CreateNamespace(t.Context(), namespace))
	client, err := temporal.Dial(namespace)
	require.NoError(t, err)
	defer client.Close()
	target := kinds.Target{Client: client, Namespace: namespace, TaskQueue: namespace}
	worker := kinds.NewWorker(target)
	require.NoError(t, worker.Start())
	defer worker.Stop()
	want := map[kinds.Closed]int{}
	for _, kind := range kinds.All() {
		require.NoError(t, kind.Run(t.Context(), target, 1))
		for closed, count := range kind.Leaves {
			want[closed] += count
		}
	}
	require.NoError(t, kinds.AwaitVisible(t.Context(), target, want))
}
