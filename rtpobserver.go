package mafalda

import (
	"context"
	"time"
)

// RTPObserverType is the kind of an [RTPObserver].
type RTPObserverType string

// The types of RTPObservers.
const (
	RTPObserverTypeActiveSpeaker RTPObserverType = "activespeaker"
	RTPObserverTypeAudioLevel    RTPObserverType = "audiolevel"
)

// An RTPObserver watches the packets of audio Producers of its Router, paused
// ones excepted. It needs the header extension ssrc-audio-level, which a Producer
// has if its RTPParameters say so. Its methods may be called by many goroutines at
// a time.
type RTPObserver interface {
	Lifetime
	AppDataHolder

	// ID returns the id of the RTPObserver, a UUID.
	ID() string
	Type() RTPObserverType
	Paused() bool

	// Pause stops watching. Pausing a paused RTPObserver does nothing. Errors:
	// [ErrClosed], or the error of ctx.
	Pause(ctx context.Context) error
	// Resume is the opposite of Pause.
	Resume(ctx context.Context) error
	// AddProducer watches a Producer of the Router, until one of the two is
	// closed. Errors: [ErrNotFound] for an unknown Producer; [ErrInvalidArgument]
	// when it is not audio; [ErrInvalidState] when an ActiveSpeakerObserver
	// watches it already; [ErrClosed].
	AddProducer(ctx context.Context, producerID string) error
	// RemoveProducer watches a Producer no more. It may be one that was never
	// added. Errors: [ErrNotFound] when the Router does not know it; [ErrClosed].
	RemoveProducer(ctx context.Context, producerID string) error

	// Events has the events for the code that uses the RTPObserver, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *RTPObserverEvents
	Observer() *RTPObserverObserver
}

// RTPObserverEvents are the events of an [RTPObserver], of either type.
type RTPObserverEvents struct {
	RouterClose Event[struct{}] // its Router closed, and so it is closed

	// Of an AudioLevelObserver:

	// Volumes comes after each interval with sound: who is loud, the loudest
	// first. A listener must not modify the slice.
	Volumes Event[[]AudioLevelVolume]
	// Silence comes after an interval without sound that follows one with, and
	// when the RTPObserver is paused after one with.
	Silence Event[struct{}]

	// Of an ActiveSpeakerObserver:

	// DominantSpeaker comes when somebody else dominates the conversation.
	DominantSpeaker Event[DominantSpeaker]
}

// RTPObserverObserver has the events that observe an [RTPObserver].
type RTPObserverObserver struct {
	Close          Event[struct{}] // once, whoever closed it
	Pause          Event[struct{}]
	Resume         Event[struct{}]
	AddProducer    Event[Producer]
	RemoveProducer Event[Producer] // not when the Producer closes

	// As in RTPObserverEvents.
	Volumes         Event[[]AudioLevelVolume]
	Silence         Event[struct{}]
	DominantSpeaker Event[DominantSpeaker]
}

// AudioLevelObserverOptions are the options of [Router.CreateAudioLevelObserver].
type AudioLevelObserverOptions struct {
	// MaxEntries is of how many Producers Volumes tells at most. Default: 1.
	MaxEntries int
	// Threshold is the least volume to tell of, in dBvo, -127 to 0. nil means -80.
	Threshold *int
	// Interval is the time between events, 250 ms to 5 s. Default: 1 s.
	Interval time.Duration
	// AppData is kept as it is.
	AppData any
}

const (
	defaultThreshold       = -80
	defaultLevelInterval   = time.Second
	defaultSpeakerInterval = 300 * time.Millisecond
)

func (o *AudioLevelObserverOptions) threshold() int {
	if o.Threshold == nil {
		return defaultThreshold
	}
	return *o.Threshold
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *AudioLevelObserverOptions) Validate() error {
	if o.MaxEntries < 0 || o.MaxEntries > 65535 {
		return invalid("MaxEntries %d is not between 1 and 65535", o.MaxEntries)
	}
	if t := o.threshold(); t < -127 || t > 0 {
		return invalid("Threshold %d is not between -127 and 0", t)
	}
	return validateInterval(o.Interval, 250*time.Millisecond)
}

// validateInterval checks the interval of an RTPObserver; 0 is the default one.
func validateInterval(d, least time.Duration) error {
	if d != 0 && (d < least || d > 5*time.Second) {
		return invalid("Interval %v is not between %v and 5s", d, least)
	}
	return nil
}

// An AudioLevelObserver tells which Producers are loudest.
type AudioLevelObserver interface {
	RTPObserver
}

// AudioLevelVolume is how loud one Producer was in an interval.
type AudioLevelVolume struct {
	Producer Producer
	// Volume is the mean in dBvo, -127 (silence) to 0.
	Volume int
}

// ActiveSpeakerObserverOptions are the options of
// [Router.CreateActiveSpeakerObserver].
type ActiveSpeakerObserverOptions struct {
	// Interval is the time between two looks at who dominates, 100 ms to 5 s.
	// Default: 300 ms.
	Interval time.Duration
	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (o *ActiveSpeakerObserverOptions) Validate() error {
	return validateInterval(o.Interval, 100*time.Millisecond)
}

// An ActiveSpeakerObserver tells who dominates the conversation. While nobody
// speaks that remains who did last; a single Producer dominates anyway.
type ActiveSpeakerObserver interface {
	RTPObserver
}

// DominantSpeaker is who dominates the conversation.
type DominantSpeaker struct {
	Producer Producer
}
