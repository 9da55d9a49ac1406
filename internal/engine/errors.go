package engine

import (
	"errors"
	"fmt"
)

// Every error of an operation matches, with [errors.Is], exactly one of these
// or [errors.ErrUnsupported].
var (
	// ErrInvalidArgument is a parameter that is missing, malformed or out of
	// range (mediasoup's TypeError). Nothing was changed.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrInvalidState is a call without meaning now: connecting twice, an id or
	// an SSRC that is in use (a plain Error of mediasoup).
	ErrInvalidState = errors.New("invalid state")
	// ErrNotFound is an id that names no live object.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable is a resource that could not be had: an address that can't
	// be bound, no free port, a full queue.
	ErrUnavailable = errors.New("unavailable")
	// ErrClosed is the answer of a Worker that was closed or died.
	ErrClosed = errors.New("worker closed")
)

func invalid(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), ErrInvalidArgument)
}

func invalidState(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), ErrInvalidState)
}

func notFound(what, id string) error {
	return fmt.Errorf("%s %q: %w", what, id, ErrNotFound)
}

func unavailable(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), ErrUnavailable)
}

func unsupported(format string, a ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, a...), errors.ErrUnsupported)
}
