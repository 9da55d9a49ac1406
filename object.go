package mafalda

import "io"

// Lifetime is the part of the API that every live object has.
type Lifetime interface {
	// Close closes the object and everything below it. It returns when ports
	// are free; it waits for no listener and no peer, and a listener may call
	// it. Only the first call has an effect; the others return at once. The
	// error is nil for the objects of this package.
	io.Closer
	// Closed reports whether the object is closed: by Close, by its parent or
	// by the peer. It is true before the first close event.
	Closed() bool
	// Done returns a channel that is closed after the last close event.
	Done() <-chan struct{}
}

// AppDataHolder is implemented by every object that carries application data.
type AppDataHolder interface {
	// AppData returns what the application attached to the object, nil if nothing.
	AppData() any
	// SetAppData replaces it. It works on a closed object too.
	SetAppData(v any)
}

// AppDataAs returns the application data of o as a T.
// It reports false when the data is of another type or was never set.
func AppDataAs[T any](o AppDataHolder) (T, bool) {
	v, ok := o.AppData().(T)
	return v, ok
}

// A KeyValue is one entry of a table in a dump.
type KeyValue[K, V any] struct {
	Key   K `json:"key"`
	Value V `json:"value"`
}

// A KeyValues is one entry of a table of lists in a dump.
type KeyValues[K, V any] struct {
	Key    K   `json:"key"`
	Values []V `json:"values"`
}
