package faults

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNothingIsLost lets the short faults happen, one after the other, to one Vitess.
func TestNothingIsLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	bed, err := StartBed(ctx, testLog{t}, "")
	require.NoError(t, err)
	defer func() { require.NoError(t, bed.Stop()) }()
	for _, fault := range Faults() {
		if !fault.Short {
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			result := run(t, bed, fault)
			require.NoError(t, result.Err())
			t.Log(result)
		})
	}
	// What follows leaves rows behind that are not to be found before.
	t.Run("what is wrong is found", func(t *testing.T) {
		requirePlantFound(t, run(t, bed, plant), bed.firstVitessShard())
	})
}

// run lets a fault happen. What the bed tells meanwhile is logged at once for who asks for it (-v), and else after the reason
// of a failure, which a long log may hide.
func run(t *testing.T, bed *Bed, fault Fault) *Result {
	t.Helper()
	bed.progress = testLog{t}
	if !testing.Verbose() {
		var steps bytes.Buffer
		bed.progress = &steps
		t.Cleanup(func() { t.Log(steps.String()) })
	}
	result, err := bed.Run(t.Context(), fault)
	require.NoError(t, err)
	return result
}
