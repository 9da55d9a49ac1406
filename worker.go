package mafalda

import (
	"context"
	"log/slog"
	"time"
)

// Defaults of [WorkerSettings].
const (
	// DefaultRTCMinPort is the default of [WorkerSettings.RTCMinPort].
	DefaultRTCMinPort = 10000
	// DefaultRTCMaxPort is the default of [WorkerSettings.RTCMaxPort].
	DefaultRTCMaxPort = 59999
)

// WorkerSettings are the options of [SFU.CreateWorker]. The zero value is valid.
type WorkerSettings struct {
	// LogLevel is the least severe level that is logged. Empty means
	// [LogLevelError].
	LogLevel LogLevel
	// LogTags are the subjects whose debug messages and warnings are logged,
	// if LogLevel admits them. Default: none.
	LogTags []LogTag
	// Logger gets the log of the Worker, filtered by LogLevel and LogTags.
	// nil means the logger given to [SetLogger].
	Logger *slog.Logger
	// RTCMinPort and RTCMaxPort are the first and last port of the range from
	// which a [ListenInfo] without port and range takes one.
	// 0 means [DefaultRTCMinPort] and [DefaultRTCMaxPort].
	RTCMinPort, RTCMaxPort uint16
	// DTLSCertificateFile and DTLSPrivateKeyFile are paths of PEM files with
	// the certificate of all WebRTCTransports that have none of their own, and its
	// key: both or none. They may hold what [WebRTCTransportOptions] may, or what a
	// WorkerBin takes. Empty means a fresh self-signed certificate for the Worker.
	DTLSCertificateFile, DTLSPrivateKeyFile string
	// WorkerBin is a program that runs the Worker in a process of its own and is
	// driven over mediasoup's worker protocol: mafalda-worker, or a
	// mediasoup-worker 3.27.1. It is looked for like a command. The process ends
	// with the Worker, and with ours; when it ends by itself the Worker has died.
	// Empty means that the Worker runs in this process.
	WorkerBin string
	// AppData is kept as it is.
	AppData any
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (s *WorkerSettings) Validate() error {
	if err := s.LogLevel.validate(); err != nil {
		return err
	}
	if err := validateLogTags(s.LogTags); err != nil {
		return err
	}
	if min, max := s.portRange(); max < min {
		return invalid("RTCMaxPort %d is less than RTCMinPort %d", max, min)
	}
	if (s.DTLSCertificateFile == "") != (s.DTLSPrivateKeyFile == "") {
		return invalid("DTLSCertificateFile and DTLSPrivateKeyFile go together")
	}
	return nil
}

// portRange returns RTCMinPort and RTCMaxPort with their defaults.
func (s *WorkerSettings) portRange() (first, last uint16) {
	first, last = s.RTCMinPort, s.RTCMaxPort
	if first == 0 {
		first = DefaultRTCMinPort
	}
	if last == 0 {
		last = DefaultRTCMaxPort
	}
	return first, last
}

// WorkerUpdateableSettings are what [Worker.UpdateSettings] can change.
type WorkerUpdateableSettings struct {
	// LogLevel replaces the level. Empty leaves it.
	LogLevel LogLevel
	// LogTags replaces the whole set; empty but not nil removes all. nil leaves it.
	LogTags []LogTag
}

// Validate returns the [ErrInvalidArgument] that a call with these options gets,
// or nil. Only a call knows more: whether a port is free, or a file there.
func (s *WorkerUpdateableSettings) Validate() error {
	if err := s.LogLevel.validate(); err != nil {
		return err
	}
	return validateLogTags(s.LogTags)
}

// A Worker owns Routers and WebRTCServers and the loop that moves their
// packets, on one core. A Worker of this package implements [LoadReporter],
// [CounterReporter] and [Killer].
type Worker interface {
	Lifetime
	AppDataHolder

	// ID returns an id that is unique among Workers everywhere (a UUID).
	ID() string
	// PID returns the id of the process in which the Worker runs. Many Workers
	// may share one process.
	PID() int
	// Died reports whether the Worker ended without being closed.
	Died() bool

	// CreateWebRTCServer opens ports that WebRTCTransports of all Routers of
	// the Worker can share. When one can't be opened, all are released.
	// Errors: [ErrInvalidArgument], [ErrUnavailable], [ErrWorkerClosed].
	CreateWebRTCServer(ctx context.Context, o WebRTCServerOptions) (WebRTCServer, error)
	// CreateRouter creates a Router.
	// Errors: [ErrInvalidArgument]; [errors.ErrUnsupported] for an unknown
	// codec; [ErrUnavailable] when payload types run out; [ErrWorkerClosed].
	CreateRouter(ctx context.Context, o RouterOptions) (Router, error)
	// WebRTCServers returns the open WebRTCServers in the order of their creation.
	WebRTCServers() []WebRTCServer
	// Routers returns the open Routers in the order of their creation.
	Routers() []Router

	// UpdateSettings changes the log level and tags. Errors:
	// [ErrInvalidArgument], [ErrWorkerClosed].
	UpdateSettings(ctx context.Context, s WorkerUpdateableSettings) error
	// Dump returns the ids of what the Worker holds. Errors: [ErrWorkerClosed].
	Dump(ctx context.Context) (WorkerDump, error)
	// ResourceUsage returns what the Worker has used since it began. Errors:
	// [ErrWorkerClosed].
	ResourceUsage(ctx context.Context) (WorkerResourceUsage, error)

	// Events has the events for the code that uses the Worker, Observer the
	// ones for code that watches it. The pointers never change.
	Events() *WorkerEvents
	Observer() *WorkerObserver
}

// WorkerEvents are the events of a [Worker].
type WorkerEvents struct {
	// Died: the Worker ended without being closed, and everything in it. The
	// error says why in one line; of a Worker in this process the verb %+v of
	// package fmt adds the stack of what failed, which is logged, too. Closed and
	// Died report true already; the close events of Routers and WebRTCServers came
	// before, the observer's Close follows.
	Died Event[error]
}

// WorkerObserver has the events that observe a [Worker].
type WorkerObserver struct {
	Close           Event[struct{}] // once, whatever ended it
	NewWebRTCServer Event[WebRTCServer]
	NewRouter       Event[Router]
}

// WorkerDump is what [Worker.Dump] returns.
type WorkerDump struct {
	PID             int                   `json:"pid"`
	WebRTCServerIDs []string              `json:"webRtcServerIds"`
	RouterIDs       []string              `json:"routerIds"`
	MessageHandlers WorkerMessageHandlers `json:"channelMessageHandlers"`
}

// WorkerMessageHandlers are the ids of all live objects of a Worker. After
// everything in it was closed both lists are empty.
type WorkerMessageHandlers struct {
	// RequestHandlers are the objects of every kind.
	RequestHandlers []string `json:"channelRequestHandlers"`
	// NotificationHandlers are the Transports and Producers.
	NotificationHandlers []string `json:"channelNotificationHandlers"`
}

// WorkerResourceUsage is what [Worker.ResourceUsage] returns: the fields of
// getrusage(2), times in milliseconds. A Worker that shares its process counts
// the thread of its loop and its handshakes; what the system does not count
// for a thread, and everything but the times on systems without such clocks,
// is that of the process or 0.
type WorkerResourceUsage struct {
	Utime    uint64 `json:"ru_utime"` // ms of CPU in the program
	Stime    uint64 `json:"ru_stime"` // ms of CPU in the kernel
	Maxrss   uint64 `json:"ru_maxrss"`
	Ixrss    uint64 `json:"ru_ixrss"`
	Idrss    uint64 `json:"ru_idrss"`
	Isrss    uint64 `json:"ru_isrss"`
	Minflt   uint64 `json:"ru_minflt"`
	Majflt   uint64 `json:"ru_majflt"`
	Nswap    uint64 `json:"ru_nswap"`
	Inblock  uint64 `json:"ru_inblock"`
	Oublock  uint64 `json:"ru_oublock"`
	Msgsnd   uint64 `json:"ru_msgsnd"`
	Msgrcv   uint64 `json:"ru_msgrcv"`
	Nsignals uint64 `json:"ru_nsignals"`
	Nvcsw    uint64 `json:"ru_nvcsw"`
	Nivcsw   uint64 `json:"ru_nivcsw"`
}

// A LoadReporter is a Worker that knows its load better than
// [WorkerResourceUsage] tells. Ask with a type assertion; the fallback is
// [LoadBetween].
type LoadReporter interface {
	// Load returns the load since the previous call, or since the Worker began.
	// Calls in quick succession may get the same answer.
	Load(ctx context.Context) (Load, error)
}

// A Killer is a Worker that can be made to die, to see what an application does
// then. Ask with a type assertion.
type Killer interface {
	// Kill lets the Worker die as if it had failed for that reason, which may be
	// nil: at once, without a word to its peers. It does not wait for the end. What
	// Died tells then is reason in the sense of [errors.Is]; not where the Worker is
	// a process of its own.
	// Errors: [ErrWorkerClosed].
	Kill(reason error) error
}

// Load is how busy a Worker is.
type Load struct {
	// CPU is the share of one core that is used: 1 is all of it. It can exceed
	// 1 a little, since handshakes run on other cores.
	CPU float64
	// PacketsPerSecond and BytesPerSecond count what is received and sent.
	PacketsPerSecond, BytesPerSecond float64
	// MaxTurn is the longest turn of the loop: how long a packet may have waited.
	MaxTurn time.Duration
}

// LoadBetween returns the load between two readings of
// [Worker.ResourceUsage], taken elapsed apart. Only CPU is known then.
func LoadBetween(before, after WorkerResourceUsage, elapsed time.Duration) Load {
	b, a := before.Utime+before.Stime, after.Utime+after.Stime
	if elapsed <= 0 || a < b {
		return Load{}
	}
	return Load{CPU: float64(time.Duration(a-b)*time.Millisecond) / float64(elapsed)}
}
