package engine

import "context"

// A Reply is the end of an operation that [Worker.Submit] began. It comes to
// [Config.Notify] as the Body of a Notification.
type Reply struct {
	Tag    any // of Submit
	Result any // of the operation
	Err    error
}

// Submit runs op on the loop of w and does not wait. What it led to comes by
// [Config.Notify], in the order in which it happened: what the network caused
// before op ran, then a [Reply], then what op caused, then the rest. Nothing of
// op is coalesced or dropped.
//
// Submit reports false when the Worker has ended. When it ends before op ran,
// there is no Reply.
func (w *Worker) Submit(tag any, op func(*Machine) (any, error)) bool {
	return w.post(func(m *Machine) {
		if m == nil {
			return
		}
		m.beginOp()
		w.out.put(m.takeNotes())
		result, err := op(m)
		m.inOp = false
		notes := m.opNotes
		m.opNotes = nil
		w.out.putAll(Notification{Body: Reply{tag, result, err}}, notes)
	})
}

// Leave tells the peers of what closes with the object with that id, as [Close]
// does before it closes it, and waits for it up to 10 ms.
func (w *Worker) Leave(id string) {
	// The error is that the loop has ended.
	ended, _, _ := Do(context.Background(), w, func(m *Machine) ([]<-chan struct{}, error) { return m.leave(id), nil })
	await(ended)
}
