package rehash

import (
	"fmt"
	"strings"
)

// Kept is the error of a run that has moved all tasks but some, because another task with the same ID is at their new
// place. Where that comes from: the task queue was deleted and created again, and its task IDs started over. Neither task
// is known to be done, so both remain where they are.
type Kept struct {
	Progress  Progress
	subqueues []keptTasks
	reader    string // who reads the new place
}

// keptTasks are those of a subqueue.
type keptTasks struct {
	subqueue    subqueue
	count       int64
	first, last int64 // the lowest and the highest task ID
}

func (k *keptTasks) add(tasks []task) {
	for _, task := range tasks {
		if k.count == 0 {
			k.first, k.last = task.id, task.id
		}
		k.count++
		k.first, k.last = min(k.first, task.id), max(k.last, task.id)
	}
}

// Error says which tasks, what it means for them, and how to go on.
func (e *Kept) Error() string {
	const shown = 20
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d tasks moved, but %d remain at the old place, where nothing delivers them. At the new place there is another, newer task with the same ID, "+
		"as the task queue was deleted and created again, and its task IDs started over:\n", e.Progress.Moved, e.Progress.Total, e.Progress.Kept)
	for _, kept := range e.subqueues[:min(shown, len(e.subqueues))] {
		fmt.Fprintf(&text, "  %s: %d tasks, IDs %d to %d\n", kept.subqueue, kept.count, kept.first, kept.last)
	}
	if more := len(e.subqueues) - shown; more > 0 {
		fmt.Fprintf(&text, "  and those of %d more subqueues\n", more)
	}
	fmt.Fprintf(&text, "All others are where %[1]s reads them, and servers with %[1]s may start. "+
		"When they have done the newer tasks and deleted them, stop all matching services and run the command again", e.reader)
	return text.String()
}
