package taskqueue

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence"
	"go.temporal.io/server/common/persistence/serialization"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/common/resolver"
)

// capturePlugin gives upstream's task store a database that only remembers the tasks.
type capturePlugin struct{ sqlplugin.Plugin }

func (capturePlugin) CreateDB(sqlplugin.DbKind, *config.SQL, resolver.ServiceResolver, log.Logger, metrics.Handler) (sqlplugin.GenericDB, error) {
	return captured, nil
}

var captured = &captureDBHandle{}

// captureDBHandle is a sqlplugin.DB of which the task store calls BeginTx only.
type captureDBHandle struct {
	sqlplugin.DB
	last *captureTx
}

type captureTx struct {
	sqlplugin.Tx
	rows []sqlplugin.TasksRow
}

func (h *captureDBHandle) BeginTx(context.Context) (sqlplugin.Tx, error) {
	h.last = &captureTx{}
	return h.last, nil
}

func (t *captureTx) InsertIntoTasks(_ context.Context, rows []sqlplugin.TasksRow) (sql.Result, error) {
	t.rows = rows
	return nil, nil
}

func (t *captureTx) LockTaskQueues(context.Context, sqlplugin.TaskQueuesFilter, sqlplugin.MatchingTaskVersion) (int64, error) {
	return 0, nil
}

func (t *captureTx) Commit() error { return nil }

func init() { persistencesql.RegisterPlugin("capture", capturePlugin{}) }

const namespaceID = "deadbeef-8081-4abc-bdef-c281e385ff80"

// upstreamRows returns the rows that upstream writes for a task in each of the subqueues of a task queue.
func upstreamRows(t *testing.T, name string, taskType enumspb.TaskQueueType, subqueues ...int) []sqlplugin.TasksRow {
	factory := persistencesql.NewFactory(config.SQL{PluginName: "capture"}, resolver.NewNoopResolver(), "", log.NewNoopLogger(),
		metrics.NoopMetricsHandler, serialization.NewSerializer())
	tasks, err := factory.NewTaskStore()
	require.NoError(t, err)
	request := &persistence.InternalCreateTasksRequest{NamespaceID: namespaceID, TaskQueue: name, TaskType: taskType}
	for _, subqueue := range subqueues {
		request.Tasks = append(request.Tasks, &persistence.InternalCreateTask{Subqueue: subqueue, Task: &commonpb.DataBlob{}})
	}
	_, err = tasks.CreateTasks(t.Context(), request)
	require.NoError(t, err)
	return captured.last.rows
}

func TestSubqueuesHaveTheRangeHashOfSubqueueZero(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{
		"", "q", "/_sys/queue/3", "á", "Ё", "Ё\u0081", "日本語", "\u0080\u0081", "𐀀", "name\u00c2\u0085", strings.Repeat("€", 80), "a\x00", "\x7f",
	}
	for range 2000 {
		name := make([]rune, random.IntN(12))
		for i := range name {
			// Characters of 1, 2, 3 and 4 bytes alike, so that many names end in continuation bytes.
			name[i] = rune(random.IntN([]int{0x80, 0x800, 0xd800, utf8.MaxRune + 1}[random.IntN(4)]))
		}
		names = append(names, strings.ToValidUTF8(string(name), "?"))
	}
	subqueues := []int{0, 1, 2, 127, 128, 129, 255, 16383, 16384, 1<<31 - 1, 1 + random.IntN(1<<31), 1 + random.IntN(1<<20)}
	for _, name := range names {
		for _, taskType := range []enumspb.TaskQueueType{0, 1, 2, 3, 63} {
			rows := upstreamRows(t, name, taskType, subqueues...)
			zero := rows[0]
			for i, row := range rows {
				require.Equal(t, zero.TaskQueueID, SubqueueZero(row.TaskQueueID), "name %q, type %d, subqueue %d", name, taskType, subqueues[i])
				require.Equal(t, zero.RangeHash, RangeHash(row.TaskQueueID))
				require.Equal(t, row.RangeHash, UpstreamRangeHash(row.TaskQueueID))
				id, ok := Parse(row.TaskQueueID)
				require.True(t, ok)
				require.Equal(t, ID{NamespaceID: primitives.MustParseUUID(namespaceID), Name: name, Type: taskType, Subqueue: subqueues[i]}, id)
			}
		}
	}
}

func TestUpstreamHashesSubqueuesApart(t *testing.T) {
	rows := upstreamRows(t, "queue", 1, 0, 2, 3)
	require.NotEqual(t, rows[0].RangeHash, rows[1].RangeHash, "if upstream hashes subqueues alike, RangeHash has no purpose")
	require.NotEqual(t, rows[1].RangeHash, rows[2].RangeHash)
}

func TestParseRefusesWhatIsTooShort(t *testing.T) {
	for _, id := range []string{"", "0123456789abcdef"} {
		_, ok := Parse([]byte(id))
		require.False(t, ok, "%q", id)
	}
}

func FuzzSubqueueZero(f *testing.F) {
	f.Add([]byte("0123456789abcdefname\x81\x05"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, id []byte) {
		zero := SubqueueZero(id)
		require.LessOrEqual(t, len(zero), len(id))
		require.Equal(t, zero, SubqueueZero(zero), "subqueue 0 of subqueue 0 is itself")
	})
}
