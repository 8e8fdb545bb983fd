package plugin

import "syscall"

// threadID returns the ID of the thread that runs the goroutine, which is its own for as long as the goroutine is locked to it.
func threadID() (id int, known bool) { return syscall.Gettid(), true }
