package outcome

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

// Each message of docs/troubleshooting.md that has a class is one of the table's texts, or begins one, and is in that class.
func TestTroubleshootingHasTheClassesOfTheTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| (`.+?`) \\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(rows), 20)
	for _, row := range rows {
		message, class := strings.Trim(row[1], "`"), Class(row[2])
		found := false
		for _, entry := range errorTable {
			found = found || entry.text != "" && strings.HasPrefix(entry.text, strings.TrimSuffix(message, "` "))
		}
		require.True(t, found, "no error has the text %q", message)
		_, classified, _ := classify(&mysql.MySQLError{Number: 1105, Message: "target: temporal.-80.primary: vttablet" + message})
		require.Equal(t, class, classified, message)
	}
}
