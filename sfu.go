package mafalda

import "context"

// An SFU creates Workers. It is what the mediasoup module is in JavaScript:
// the in-process engine ([New]), a remote server, a pool of either, all are
// an SFU. Closing it closes its Workers.
type SFU interface {
	Lifetime

	// CreateWorker starts a Worker. ctx bounds the call, not the Worker.
	// Errors: [ErrInvalidArgument], [ErrUnavailable], [ErrClosed].
	CreateWorker(ctx context.Context, s WorkerSettings) (Worker, error)
	// Workers returns the open Workers in the order of their creation.
	Workers() []Worker
	// SupportedRTPCapabilities returns the codecs and header extensions a
	// Router may be given, as a copy the caller may modify.
	SupportedRTPCapabilities() RouterRTPCapabilities
	// Observer has the events of the SFU. The pointer never changes.
	Observer() *SFUObserver
}

// SFUObserver has the events that observe an [SFU].
type SFUObserver struct {
	Close     Event[struct{}]
	NewWorker Event[Worker]
}
