package dtls

const (
	// maxQueued and maxQueuedBytes bound what was fed and not read yet.
	maxQueued      = 512
	maxQueuedBytes = 512 << 10
)

// A queue holds datagrams that were fed. Its owner guards it.
type queue struct {
	datagrams [][]byte
	bytes     int
}

// put returns false if b is empty or too much waits already.
func (q *queue) put(b []byte) bool {
	if len(b) == 0 || len(q.datagrams) == maxQueued || q.bytes+len(b) > maxQueuedBytes {
		return false
	}
	q.datagrams = append(q.datagrams, b)
	q.bytes += len(b)
	return true
}

// take returns the first datagram, nil if there is none.
func (q *queue) take() []byte {
	if len(q.datagrams) == 0 {
		return nil
	}
	b := q.datagrams[0]
	q.datagrams[0] = nil
	q.bytes -= len(b)
	if q.datagrams = q.datagrams[1:]; len(q.datagrams) == 0 {
		q.datagrams = nil // most connections say nothing for hours
	}
	return b
}
