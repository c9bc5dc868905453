package netlab

// A flight is a packet that is under way.
type flight struct {
	packet Packet
	bytes  []byte
	due    instant
	order  uint64
	held   bool // by a filter
}

// A queue is a heap (container/heap) of packets, those first that are due first.
type queue []*flight

// Len is of heap.Interface.
func (q queue) Len() int { return len(q) }

// Less is of heap.Interface. What is due at the same instant keeps its order.
func (q queue) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return q[i].order < q[j].order
}

// Swap is of heap.Interface.
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is of heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(*flight)) }

// Pop is of heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	f := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return f
}
