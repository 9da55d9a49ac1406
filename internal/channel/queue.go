package channel

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

const (
	// maxQueued is how many entries may wait for the worker to read them.
	maxQueued = 4096
	// maxQueuedBytes is how long they may be, so that there is room for
	// notifications; requests have somebody who waits.
	maxQueuedBytes = 16 << 20
)

// An entry is one or two frames that are written at once.
type entry struct {
	frame []byte
	x     *exchange // to be told when they can't be written; nil: nobody is
}

// A queue writes frames on a goroutine of its own, so that a worker that reads
// nothing holds up nobody for longer than he likes. Its methods may be called by
// many goroutines at a time.
type queue struct {
	w      io.Writer
	ended  <-chan struct{}
	broken chan struct{} // closed when a write has failed

	entries chan entry    // never full for who has reserved
	room    chan struct{} // one for each entry that was reserved
	bytes   atomic.Int64  // that wait

	mu     sync.Mutex
	packer packer // guarded by mu
}

// newQueue returns a queue that ends when ended is closed and w fails or has
// taken what is being written.
func newQueue(w io.Writer, ended <-chan struct{}) *queue {
	q := &queue{
		w: w, ended: ended, broken: make(chan struct{}),
		entries: make(chan entry, maxQueued), room: make(chan struct{}, maxQueued), packer: newPacker(),
	}
	go q.run() // ends with ended
	return q
}

func (q *queue) run() {
	broken := false
	for {
		select {
		case e := <-q.entries:
			if !broken {
				if _, err := q.w.Write(e.frame); err != nil {
					broken = true
					close(q.broken)
				}
			}
			if broken && e.x != nil {
				close(e.x.lost)
			}
			q.bytes.Add(-int64(len(e.frame)))
			q.release()
		case <-q.ended:
			return
		}
	}
}

// pack returns the frames of messages. The error is errTooBig.
func (q *queue) pack(messages ...*fbs.MessageBodyT) (frames []byte, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range messages {
		frame, err := q.packer.pack(m)
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame...)
	}
	return frames, nil
}

// reserve waits for room for one entry. Who has it calls put or release. Errors:
// that of ctx, [engine.ErrClosed].
func (q *queue) reserve(ctx context.Context) error {
	select {
	case <-q.broken:
		return engine.ErrClosed
	default:
	}
	select {
	case q.room <- struct{}{}:
		return nil
	case <-q.broken:
	case <-q.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	return engine.ErrClosed
}

func (q *queue) release() { <-q.room }

// put queues an entry for which there is room.
func (q *queue) put(e entry) {
	q.bytes.Add(int64(len(e.frame)))
	q.entries <- e
}

// tell queues a frame if there is room. Errors: [engine.ErrClosed],
// [engine.ErrUnavailable].
func (q *queue) tell(frame []byte) error {
	select {
	case <-q.broken:
		return engine.ErrClosed
	case <-q.ended:
		return engine.ErrClosed
	default:
	}
	if q.bytes.Load() < maxQueuedBytes {
		select {
		case q.room <- struct{}{}:
			q.put(entry{frame: frame})
			return nil
		default:
		}
	}
	return fmt.Errorf("the worker reads nothing: %w", engine.ErrUnavailable)
}
