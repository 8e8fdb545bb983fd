// Package taskqueue holds the one value that the plugin stores otherwise than upstream's: the range hash of tasks.
//
// A task queue has subqueues (for priorities and fairness), whose tasks upstream stores under a hash of their own,
// while the row with the range ID that guards all of them is that of subqueue 0. On Vitess they are in different
// places, so a batch of tasks would be a transaction over several Vitess shards. The plugin stores the tasks of all
// subqueues of a task queue under the range hash of its subqueue 0, by which Vitess places the rows. The task_queue_id
// still tells them apart.
package taskqueue

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/dgryski/go-farm"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/server/common/primitives"
)

// The format of a task queue's id, from upstream's taskQueueId (common/persistence/sql/task_util.go): the namespace's
// UUID, the name, and a byte for the type; for a subqueue other than 0, the type's high bit is set and the number of
// the subqueue follows as a varint.
const (
	namespaceIDLength = 16
	subqueueMark      = 0x80
)

// ID is what a task_queue_id says.
type ID struct {
	NamespaceID primitives.UUID
	Name        string
	Type        enumspb.TaskQueueType
	// Subqueue is 0 for the task queue itself, which has no number in its id.
	Subqueue int
}

// Parse takes a task_queue_id apart. It returns false for what cannot be one.
func Parse(taskQueueID []byte) (ID, bool) {
	end, marked := nameEnd(taskQueueID)
	if end < namespaceIDLength {
		return ID{}, false
	}
	id := ID{
		NamespaceID: taskQueueID[:namespaceIDLength],
		Name:        string(taskQueueID[namespaceIDLength:end]),
		Type:        enumspb.TaskQueueType(taskQueueID[end]),
	}
	if marked {
		id.Type &^= subqueueMark
		subqueue, _ := binary.Uvarint(taskQueueID[end+1:])
		id.Subqueue = int(subqueue)
	}
	return id, true
}

// RangeHash returns the plugin's range_hash for the tasks of the task queue or subqueue with that task_queue_id:
// upstream's hash of subqueue 0.
func RangeHash(taskQueueID []byte) uint32 {
	return farm.Fingerprint32(SubqueueZero(taskQueueID))
}

// UpstreamRangeHash returns the range_hash that upstream's plugin gives the tasks of that task queue or subqueue, from
// upstream's taskQueueIdAndHash.
func UpstreamRangeHash(taskQueueID []byte) uint32 {
	return farm.Fingerprint32(taskQueueID)
}

// SubqueueZero returns the task_queue_id of subqueue 0 of a task queue, which is that of the row with the range ID.
func SubqueueZero(id []byte) []byte {
	end, marked := nameEnd(id)
	if !marked {
		return id
	}
	return append(slices.Clone(id[:end]), id[end]&^subqueueMark)
}

// nameEnd returns where the name ends, which is the index of the type, and whether the type is marked and a subqueue
// follows.
//
// The name is UTF-8, so it decides where the rest starts. The byte of a marked type (0x80 to 0xBF, as there are fewer
// than 64 types) can only continue a character. Without a subqueue all before the last byte is the name; with one, it
// is the name and a byte that continues nothing, which is not UTF-8. For the same reason one length of the varint at
// most leaves a valid name.
func nameEnd(id []byte) (end int, marked bool) {
	last := len(id) - 1
	if last < namespaceIDLength || utf8.Valid(id[namespaceIDLength:last]) {
		return last, false
	}
	// Bytes of a varint have their high bit set, but for the last.
	for position := last - 1; position >= namespaceIDLength && id[position]&subqueueMark != 0 && last-position <= binary.MaxVarintLen64; position-- {
		if utf8.Valid(id[namespaceIDLength:position]) {
			return position, true
		}
	}
	return last, false
}
