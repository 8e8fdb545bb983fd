package kinds

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatience(t *testing.T) {
	t.Run("ends when nothing changes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var p Patience
			require.NoError(t, p.Ends(""))
			time.Sleep(patience)
			require.NoError(t, p.Ends("changed"))
			time.Sleep(patience)
			require.NoError(t, p.Ends("changed"))
			time.Sleep(time.Second)
			require.EqualError(t, p.Ends("changed"), "nothing has changed for 2m0s")
		})
	})
	t.Run("ends at its limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var p Patience
			for elapsed := time.Duration(0); elapsed <= limit; elapsed += time.Minute {
				require.NoError(t, p.Ends(fmt.Sprint(elapsed)))
				time.Sleep(time.Minute)
			}
			require.EqualError(t, p.Ends("changed"), "it has taken more than 10m0s")
		})
	})
}
