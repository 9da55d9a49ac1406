package engine

// A Mailbox hands notifications on as a Worker does: in order, on a goroutine
// of its own that may wait as long as it likes, with the same bounds on what
// waits meanwhile. It is for who gets them from elsewhere.
type Mailbox struct{ box *outbox }

// NewMailbox returns a Mailbox that calls notify. It ends with Close.
func NewMailbox(notify func(Notification)) *Mailbox {
	m := &Mailbox{newOutbox()}
	go m.box.run(notify) // ends with Close
	return m
}

// hardBacklog is how many bytes of messages a Mailbox takes. Who sees that it is
// full stops earlier; what is on its way by then still has room.
const hardBacklog = 4 * maxBacklog

// Full reports whether so many bytes of messages wait that no more are wanted.
func (m *Mailbox) Full() bool { return m.box.backlog.full() }

// Put adds notes, with no wait. A [DataConsumerMessage] that is too much even for
// a Mailbox that was full long ago is dropped, and false returned: nobody can be
// held up for it here.
func (m *Mailbox) Put(notes ...Notification) bool {
	all := true
	for _, n := range notes {
		if d, ok := n.Body.(DataConsumerMessage); ok {
			if m.box.backlog.n.Load() > hardBacklog {
				all = false
				continue
			}
			m.box.backlog.add(len(d.Data))
		}
		m.box.put([]Notification{n})
	}
	return all
}

// Close ends it: after all that waits, last is called. It does not wait.
func (m *Mailbox) Close(last func()) { m.box.close(last) }
