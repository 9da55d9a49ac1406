package mafalda

import (
	"context"
	"errors"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/dtls"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// A machine has the operations of a worker: [engine.Machine] in this process,
// [channel.Call] in another.
// What they mean is documented there.
//
// A new operation gets a method here, on engine.Machine and on channel.Call.
type machine interface {
	Dump() (engine.DumpWorker, error)
	Usage() (engine.Usage, error)
	CreateWebRTCServer(id string, infos []engine.ListenInfo) error
	CloseWebRTCServer(id string) error
	DumpWebRTCServer(id string) (engine.DumpWebRTCServer, error)
	CreateRouter(id string) error
	CloseRouter(id string) error
	DumpRouter(id string) (engine.DumpRouter, error)

	CreateWebRTCTransport(routerID string, o engine.WebRTCTransportOptions) (engine.TransportDump, error)
	CreatePlainTransport(routerID string, o engine.PlainTransportOptions) (engine.TransportDump, error)
	CreatePipeTransport(routerID string, o engine.PipeTransportOptions) (engine.TransportDump, error)
	CreateDirectTransport(routerID string, o engine.DirectTransportOptions) (engine.TransportDump, error)
	CloseTransport(id string) error
	ConnectWebRTC(id string, role engine.DTLSRole, fingerprints []dtls.Fingerprint) (engine.DTLSRole, error)
	ConnectPlain(id string, o engine.PlainConnectOptions) (engine.TransportDump, error)
	ConnectPipe(id string, o engine.PipeConnectOptions) (engine.TransportDump, error)
	RestartICE(id string) (ufrag, password string, err error)
	SetMaxIncomingBitrate(id string, bitrate uint64) error
	SetMaxOutgoingBitrate(id string, bps uint32) error
	SetMinOutgoingBitrate(id string, bps uint32) error
	TraceTransport(id string, types []string) error
	DumpTransport(id string) (engine.TransportDump, error)
	TransportStats(id string) (engine.TransportStats, error)

	Produce(transportID string, o engine.ProduceOptions) (engine.ProducerType, error)
	CloseProducer(id string) error
	PauseProducer(id string) error
	ResumeProducer(id string) error
	TraceProducer(id string, types []string) error
	DumpProducer(id string) (engine.ProducerDump, error)
	ProducerStats(id string) (engine.ProducerStats, error)

	Consume(transportID string, o engine.ConsumeOptions) (engine.ConsumeResult, error)
	CloseConsumer(id string) error
	PauseConsumer(id string) error
	ResumeConsumer(id string) error
	RequestKeyFrame(id string) error
	SetPreferredLayers(id string, l engine.Layers) (*engine.Layers, error)
	SetPriority(id string, priority uint8) error
	TraceConsumer(id string, types []string) error
	DumpConsumer(id string) (engine.ConsumerDump, error)
	ConsumerStats(id string) (engine.ConsumerStats, error)

	ProduceData(transportID string, o engine.ProduceDataOptions) (engine.DataProducerDump, error)
	CloseDataProducer(id string) error
	PauseDataProducer(id string) error
	ResumeDataProducer(id string) error
	DumpDataProducer(id string) (engine.DataProducerDump, error)
	DataProducerStats(id string) (engine.DataProducerStats, error)

	ConsumeData(transportID string, o engine.ConsumeDataOptions) (engine.DataConsumerDump, error)
	CloseDataConsumer(id string) error
	PauseDataConsumer(id string) error
	ResumeDataConsumer(id string) error
	BufferedAmount(id string) (uint32, error)
	SetBufferedAmountLowThreshold(id string, n uint32) error
	SendData(id string, ppid uint32, data []byte) (buffered uint32, err error)
	SetSubchannels(id string, list []uint16) ([]uint16, error)
	AddSubchannel(id string, n uint16) ([]uint16, error)
	RemoveSubchannel(id string, n uint16) ([]uint16, error)
	DumpDataConsumer(id string) (engine.DataConsumerDump, error)
	DataConsumerStats(id string) (engine.DataConsumerStats, error)

	CreateAudioLevelObserver(routerID, id string, o engine.AudioLevelOptions) error
	CreateActiveSpeakerObserver(routerID, id string, interval time.Duration) error
	CloseRTPObserver(id string) error
	PauseRTPObserver(id string) error
	ResumeRTPObserver(id string) error
	AddRTPObserverProducer(id, producerID string) error
	RemoveRTPObserverProducer(id, producerID string) error
}

var _ machine = (*engine.Machine)(nil)

// A backend is where the operations of a Worker are done.
type backend interface {
	// do runs f, which does one operation, and returns the notifications that
	// it caused. What f does before the operation happens in the order of the
	// operations.
	do(ctx context.Context, f func(machine) error) ([]engine.Notification, error)
	// close is do for an operation that closes something. That it was closed
	// already is no error.
	close(f func(machine) error) []engine.Notification
	// leave is close for the object with that id, whose peers are told first.
	leave(id string, f func(machine) error) []engine.Notification
	updateSettings(ctx context.Context, s *WorkerUpdateableSettings) error
	Inject(producerID string, packet []byte) error
	InjectRTCP(transportID string, packet []byte) error
	InjectData(producerID string, m engine.DataMessage) error
	PID() int
	// kill lets the Worker die, for that reason if it can tell. It waits for
	// nothing.
	kill(reason error)
	// Close ends the Worker and waits until its ports are free.
	Close()
}

// onEngine runs f where there is an engine in this process.
func onEngine[R any](f func(*engine.Machine) (R, error)) func(machine) (R, error) {
	return func(m machine) (R, error) {
		e, ok := m.(*engine.Machine)
		if !ok {
			var none R
			return none, errors.ErrUnsupported
		}
		return f(e)
	}
}
