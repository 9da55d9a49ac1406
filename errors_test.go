package mafalda

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestErrorClasses(t *testing.T) {
	roots := []error{ErrInvalidArgument, ErrInvalidState, ErrNotFound, ErrUnavailable, errors.ErrUnsupported}
	tests := []struct {
		name string
		err  error
		want error
	}{
		{"invalid", invalid("port %d", 0), ErrInvalidArgument},
		{"closed", ErrClosed, ErrInvalidState},
		{"worker closed", ErrWorkerClosed, ErrInvalidState},
		{"wrapped", &Error{Op: "Pause", Object: "Producer", ID: "p", Err: ErrWorkerClosed}, ErrInvalidState},
		{"unsupported", &Error{Op: "Produce", Object: "PlainTransport", Err: errors.ErrUnsupported}, errors.ErrUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, root := range roots {
				assert.Equal(t, root == tt.want, errors.Is(tt.err, root), "errors.Is(%v, %v)", tt.err, root)
			}
		})
	}
	assert.ErrorIs(t, ErrWorkerClosed, ErrClosed)
	assert.NotErrorIs(t, ErrClosed, ErrWorkerClosed)
	assert.Equal(t, "worker closed", ErrWorkerClosed.Error())
}

func TestErrorText(t *testing.T) {
	assert.Equal(t, "Producer(p).Pause: closed", (&Error{"Pause", "Producer", "p", ErrClosed}).Error())
	assert.Equal(t, "SFU.CreateWorker: log level \"x\": invalid argument",
		(&Error{Op: "CreateWorker", Object: "SFU", Err: LogLevel("x").validate()}).Error())
}
