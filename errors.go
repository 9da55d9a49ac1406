package mafalda

import (
	"errors"
	"fmt"
)

// Every error of this API matches, with [errors.Is], exactly one of the first
// four, [errors.ErrUnsupported] (mediasoup's UnsupportedError) or an error of
// package context.
var (
	// ErrInvalidArgument is mediasoup's TypeError: an option is missing,
	// malformed or out of range. Nothing was changed.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrInvalidState means that the call has no meaning now: connecting twice,
	// an id or an SSRC that is in use already.
	ErrInvalidState = errors.New("invalid state")
	// ErrNotFound is mediasoup's NotFoundError: an id given as argument names
	// no live object.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable means that a resource could not be had: an address that
	// can't be bound, no free port, no capacity. It may succeed later.
	ErrUnavailable = errors.New("unavailable")

	// ErrClosed is the [ErrInvalidState] of an object that was closed, by any side.
	ErrClosed error = &subclass{"closed", ErrInvalidState}
	// ErrWorkerClosed is the [ErrClosed] of an object whose Worker was closed
	// or died (mediasoup's WorkerClosedError).
	ErrWorkerClosed error = &subclass{"worker closed", ErrClosed}
)

// A subclass is an error that is another one too.
type subclass struct {
	text   string
	parent error
}

func (c *subclass) Error() string { return c.text }
func (c *subclass) Unwrap() error { return c.parent }

// An Error says which call failed on which object. Every error of a method of
// a live object is one.
type Error struct {
	Op     string // method, as in "Consume"
	Object string // type of the receiver, as in "WebRTCTransport"
	ID     string // id of the receiver; empty for an SFU
	Err    error  // cause; never nil
}

// Error returns, for example, "Router(5e…).CreatePlainTransport: …".
func (e *Error) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%s.%s: %v", e.Object, e.Op, e.Err)
	}
	return fmt.Sprintf("%s(%s).%s: %v", e.Object, e.ID, e.Op, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// invalid returns an ErrInvalidArgument that says what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrInvalidArgument)
}

// invalidState returns an ErrInvalidState that says what is wrong.
func invalidState(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrInvalidState)
}
