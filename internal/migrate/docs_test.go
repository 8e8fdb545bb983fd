package migrate

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The table of checks has all of them, in order, with the commands that they stand before.
func TestEachCheckIsInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/migration.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(page), "| check | before | |")
	var documented [][]string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\S+)`( \\*final\\*)? \\| ([a-z, ]+) \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, row[1:])
	}
	var want [][]string
	for _, check := range checks {
		var before []string
		for _, command := range check.Before {
			before = append(before, string(command))
		}
		final := ""
		if check.Final {
			final = " *final*"
		}
		want = append(want, []string{check.Name, final, strings.Join(before, ", ")})
	}
	require.Equal(t, want, documented)
}
