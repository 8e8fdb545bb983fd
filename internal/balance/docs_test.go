package balance_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/internal/balance"
)

var update = flag.Bool("update", false, "write the balance table into docs/vschema.md")

const (
	balancePage  = "../../docs/vschema.md"
	balanceStart = "<!-- balance: written by go test ./internal/balance -update -->\n"
	balanceEnd   = "<!-- /balance -->\n"
)

// TestBalanceTableOfTheDocs computes with Vitess' own vindexes how evenly history shards spread.
func TestBalanceTableOfTheDocs(t *testing.T) {
	functions := []string{"reverse_bits", "xxhash", "hash"}
	var table strings.Builder
	table.WriteString("| history shards | Vitess shards | reverse_bits | xxhash | hash |\n|---|---|---|---|---|\n")
	for _, size := range [][2]int{{512, 2}, {512, 4}, {512, 8}, {512, 16}, {512, 32}, {4096, 4}, {4096, 16}, {4096, 32}, {4096, 64}, {16384, 16}, {16384, 64}, {16384, 128}, {16384, 256}} {
		fmt.Fprintf(&table, "| %d | %d |", size[0], size[1])
		for _, function := range functions {
			fullest := fullestOverMean(t, function, size[0], size[1])
			if function == "reverse_bits" {
				require.InDelta(t, 1, fullest, 1e-9, "reverse_bits divides powers of two exactly")
			}
			fmt.Fprintf(&table, " %.3f |", fullest)
		}
		table.WriteString("\n")
	}

	page, err := os.ReadFile(balancePage)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(page), balanceStart)
	require.True(t, ok, "%s lacks %s", balancePage, balanceStart)
	inPage, after, ok := strings.Cut(rest, balanceEnd)
	require.True(t, ok, "%s lacks %s", balancePage, balanceEnd)
	if *update {
		require.NoError(t, os.WriteFile(balancePage, []byte(before+balanceStart+table.String()+balanceEnd+after), 0o644))
		return
	}
	require.Equal(t, table.String(), inPage, "run go test ./internal/balance -update")
}

// fullestOverMean returns how many history shards the fullest of equal key ranges has, over the mean.
func fullestOverMean(t *testing.T, function string, historyShards, vitessShards int) float64 {
	t.Helper()
	shards, err := balance.Even(vitessShards)
	require.NoError(t, err)
	spread, err := balance.Compute(&vschemapb.Vindex{Type: function}, historyShards, shards)
	require.NoError(t, err)
	return spread.FullestOverMean()
}
