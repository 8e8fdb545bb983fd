package wire

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// waitUntil returns when the time has come, late by some 20 µs. time.Sleep is late by up to a millisecond in a process
// that has nothing else to do, since Go's network poller counts in milliseconds. select(2) is late by a tenth of that,
// so the rest is spent yielding.
func waitUntil(due time.Time) {
	const yielding = 150 * time.Microsecond
	for {
		rest := time.Until(due)
		switch {
		case rest <= 0:
			return
		case rest > yielding:
			timeout := unix.NsecToTimeval((rest - yielding).Nanoseconds())
			_, _ = unix.Select(0, nil, nil, nil, &timeout) // a signal ends it early
		default:
			runtime.Gosched()
		}
	}
}
