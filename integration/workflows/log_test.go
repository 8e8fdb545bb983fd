package workflows

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// defectLog is the log of a server. It keeps the lines that tell of a defect.
type defectLog struct {
	mutex   sync.Mutex
	defects []string
}

// A defect is what nothing but a wrong statement or table causes: an error of Vitess' planner (VT…) or of MySQL that
// upstream does not expect, a transaction over several Vitess shards, a statement without a route, a limit.
var defect = regexp.MustCompile(`cannot be routed|VT\d{5}|multi-db transaction|row count exceeded|\(errno \d+\)|Error \d{4} \(`)

// Write implements io.Writer; the server writes line by line.
func (l *defectLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`"level":"fatal"`)) { // which ends the process
		return os.Stderr.Write(line)
	}
	if defect.Match(line) {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.defects = append(l.defects, string(line))
	}
	return len(line), nil
}

func (l *defectLog) err() error {
	const shown = 10
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if len(l.defects) == 0 {
		return nil
	}
	return fmt.Errorf("the server's log tells of %d defects; the first are:\n%s",
		len(l.defects), strings.Join(l.defects[:min(shown, len(l.defects))], ""))
}

func TestDefectLog(t *testing.T) {
	t.Parallel()
	for line, isDefect := range map[string]bool{
		`"msg":"Slow gRPC call","wf-run-id":"01a20472-1105-7f01-823e-8afb38b7a164"`:                       false,
		`"error":"shard status unknown"`:                                                                  false,
		`"msg":"A statement cannot be routed to one Vitess shard; it is sent as it is"`:                   true,
		`"error":"Error 1235 (42000): VT12001: unsupported: DML cannot update vindex column"`:             true,
		`"error":"UpsertClusterMembership operation failed. Out of range value for column (errno 1264)"`:  true,
		`"error":"Error 1317 (70100): multi-db transaction attempted: [target:\"temporal.-80.primary\"]"`: true,
	} {
		log := &defectLog{}
		_, err := log.Write([]byte(line))
		require.NoError(t, err)
		require.Equal(t, isDefect, log.err() != nil, line)
	}
}
