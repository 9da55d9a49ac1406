// Package mafalda is a WebRTC SFU as a library: it receives media from some
// endpoints and forwards it to others, without decoding it. Its objects,
// options, events and data are those of mediasoup [MediasoupVersion], in Go.
//
//	SFU                         New, or a remote server, a pool, …
//	└─ Worker                   one packet loop on one core
//	   ├─ WebRTCServer          ports shared by many WebRTCTransports
//	   └─ Router                a room: its Producers can be consumed in it
//	      ├─ RTPObserver       who is loud, who dominates the conversation
//	      └─ Transport          WebRTCTransport, PlainTransport, PipeTransport, DirectTransport
//	         ├─ Producer        media that comes in
//	         ├─ Consumer        the same media going out
//	         ├─ DataProducer    messages that come in, by SCTP or from the application
//	         └─ DataConsumer    the same messages going out
//
// A room with one speaker and one listener, without error handling:
//
//	worker, err := mafalda.CreateWorker()
//	router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{
//		MediaCodecs: []mafalda.RouterRTPCodecCapability{
//			{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
//		},
//	})
//	listen := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{
//		{Protocol: mafalda.ProtocolUDP, IP: netip.MustParseAddr("192.0.2.1")},
//	}}
//	in, err := router.CreateWebRTCTransport(ctx, listen)  // parameters go to the speaker …
//	out, err := router.CreateWebRTCTransport(ctx, listen) // … and to the listener
//	err = in.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: speaker.DTLS})
//	err = out.Connect(ctx, mafalda.WebRTCTransportConnectOptions{DTLSParameters: listener.DTLS})
//	producer, err := in.Produce(ctx, mafalda.ProducerOptions{
//		Kind: mafalda.MediaKindAudio, RTPParameters: speaker.RTPParameters,
//	})
//	consumer, err := out.Consume(ctx, mafalda.ConsumerOptions{
//		ProducerID: producer.ID(), RTPCapabilities: listener.RTPCapabilities,
//	})
//	send(listener, consumer.ID(), consumer.RTPParameters())
//
// What endpoints exchange with the application ([RTPCapabilities],
// [RTPParameters], [ICEParameters], [ICECandidate], [DTLSParameters], …) is
// encoded by encoding/json as mediasoup's own, so mediasoup-client takes it
// unchanged.
//
// # Calls
//
// Every method of every object may be called by many goroutines at a time.
// A method that takes a context may wait; the context bounds the call, the
// object outlives it. A getter never waits and returns a copy.
//
// Options are validated before anything changes, and an out-of-range value is
// an error. An error matches exactly one of [ErrInvalidArgument],
// [ErrInvalidState] (of which [ErrClosed] is one, and [ErrWorkerClosed] one of
// these), [ErrNotFound], [ErrUnavailable], [errors.ErrUnsupported] and the
// errors of package context. [Error] has what failed where.
//
// # Closing
//
// Close is idempotent and closes what is below. A child hears why (TransportClose,
// RouterClose, …) and is closed before its parent's observer hears Close.
// Closed is true before the first close event, and Done is closed after the
// last. Once an object is closed its methods return [ErrClosed], or
// [ErrWorkerClosed] when its Worker is closed; getters keep their last value.
//
// # Events
//
// An object has two bags of [Event]: Events for code that uses the object,
// Observer for code that watches it. Observers of parents have the events of
// birth: NewWorker, NewRouter, NewTransport, …
//
//   - Listeners are called in the order of On, on the goroutine that emits, with
//     no lock held. A listener may call anything, Close too. Calls may overlap.
//   - What a method causes is emitted before it returns, on the goroutine of its
//     caller. What the network causes is emitted in order by one goroutine of
//     the Worker, so a slow listener delays the Worker's events but no packet.
//     So hold no mutex over a call, Close included, that a listener takes: when
//     the Producer of who speaks is closed, the listener of DominantSpeaker is
//     called for the next one before Close returns.
//   - Nothing of the network is emitted on an object before its birth event has
//     been delivered, and no call of a listener begins after its observer's Close.
//   - Close events keep their order whoever closes: those of an object whose birth
//     event, or whose child's close events, are being delivered just now come
//     after these. Close does not wait for that, so a listener may call it; a
//     listener must not wait for Done of what it is called for.
//   - State events coalesce behind a slow listener: for scores, tuples and the
//     like only the latest is kept, of ICE, DTLS and SCTP states the last 16, of trace
//     events the last 64. RTP and RTCP events wait in a bounded queue which drops
//     the oldest. Messages of data are never dropped for a listener: when 16 MiB
//     wait in a Worker, [DataProducer.Send] is refused and SCTP stops reading.
//   - On after the fact hears nothing: to wait for the end select on Done.
//   - A panic of a listener is not recovered.
//
// # Other implementations
//
// The live objects are interfaces, so that an SFU may be made of SFUs. They
// follow mediasoup and may gain methods in a minor release: who implements one
// outside this module embeds it (struct{ mafalda.Producer; … }) and keeps
// compiling. Package acceptance has the tests that every implementation passes.
//
// What only some implementations can do is an interface of its own, asked for
// with a type assertion: [LoadReporter], [CounterReporter] and [Killer] on a
// Worker, [PacketTapper] on a Transport.
//
// # When nothing arrives
//
// Nothing is logged until [SetLogger] or WorkerSettings.Logger gives a logger,
// and then errors only, unless WorkerSettings has a LogLevel and LogTags.
// Packets that are dropped are counted, not logged:
//
//	if r, ok := worker.(mafalda.CounterReporter); ok {
//		counters, err := r.Counters(ctx)
//		fmt.Println(counters.Drops, err)
//	}
//
// «unknown-stream» is RTP whose SSRC, MID and RID no Producer on its Transport
// has, «unknown-tuple» a sender that the Transport does not know: a
// PlainTransport with neither Comedia nor Connect, or a peer before ICE. A
// [WebRTCTransport] tells by ICEState and DTLSState how far it got. A Producer
// has Stats once a packet was taken for it.
//
// # Threads
//
// A Worker's loop runs on a thread of its own, and one Worker uses one core.
// On Linux the thread asks for short time slices, with sched_setattr(2): a seccomp
// filter may refuse that with an error, but must not end the process for it.
// The library leaves GOMAXPROCS alone. A program that computes besides should
// set it to the number of CPUs + the number of Workers + 4: goroutines that
// spin on all Ps otherwise delay a loop by tens of milliseconds.
package mafalda
