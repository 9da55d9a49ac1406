package wrap_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A world has one outer object of every kind.
type world struct {
	sfu      *wrap.SFU
	worker   mafalda.Worker
	server   mafalda.WebRTCServer
	router   mafalda.Router
	webRTC   mafalda.WebRTCTransport
	plain    mafalda.PlainTransport
	pipe     mafalda.PipeTransport
	direct   mafalda.DirectTransport
	producer mafalda.Producer
	consumer mafalda.Consumer
	dataIn   mafalda.DataProducer
	dataOut  mafalda.DataConsumer
	levels   mafalda.AudioLevelObserver
	speaker  mafalda.ActiveSpeakerObserver
}

// childrenFirst has all of it.
func (x *world) childrenFirst() []any {
	return []any{
		x.speaker, x.levels, x.dataOut, x.dataIn, x.consumer, x.producer, x.direct, x.pipe, x.plain, x.webRTC,
		x.router, x.server, x.worker, x.sfu,
	}
}

var udp = mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: netip.MustParseAddr("127.0.0.1")}

// newWorld fills a world on s.
func newWorld(t testing.TB, s *wrap.Space) *world {
	t.Helper()
	x := &world{sfu: s.SFU(mafalda.New())}
	t.Cleanup(func() { require.NoError(t, x.sfu.Close()) })
	ctx := t.Context()
	x.worker = must(x.sfu.CreateWorker(ctx, mafalda.WorkerSettings{}))
	x.server = must(x.worker.CreateWebRTCServer(ctx, mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{udp}}))
	x.router = must(x.worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: codecs}))
	x.webRTC = must(x.router.CreateWebRTCTransport(ctx, mafalda.WebRTCTransportOptions{WebRTCServer: x.server}))
	x.plain = must(x.router.CreatePlainTransport(ctx, mafalda.PlainTransportOptions{ListenInfo: udp}))
	x.pipe = must(x.router.CreatePipeTransport(ctx, mafalda.PipeTransportOptions{ListenInfo: udp}))
	x.direct = must(x.router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{}))
	x.producer = must(x.direct.Produce(ctx, mafalda.ProducerOptions{Kind: "audio", RTPParameters: opus(1)}))
	x.consumer = must(x.webRTC.Consume(ctx, mafalda.ConsumerOptions{
		ProducerID: x.producer.ID(), RTPCapabilities: x.router.RTPCapabilities(),
	}))
	x.dataIn = must(x.direct.ProduceData(ctx, mafalda.DataProducerOptions{}))
	x.dataOut = must(x.direct.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: x.dataIn.ID()}))
	x.levels = must(x.router.CreateAudioLevelObserver(ctx, mafalda.AudioLevelObserverOptions{}))
	x.speaker = must(x.router.CreateActiveSpeakerObserver(ctx, mafalda.ActiveSpeakerObserverOptions{}))
	return x
}

var codecs = []mafalda.RouterRTPCodecCapability{
	{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
}

// must is for what can only fail when the test is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestEveryEventIsRelayed fails when a bag of events gains one that the
// pass-through does not relay.
func TestEveryEventIsRelayed(t *testing.T) {
	x := newWorld(t, wrap.NewSpace(wrap.Hooks{}))
	seen := map[reflect.Type]bool{}
	for _, o := range x.childrenFirst() {
		outer := reflect.ValueOf(o)
		inner := outer.MethodByName("Inner").Call(nil)[0]
		for _, closing := range []bool{false, true} { // nothing else comes after these
			for _, bag := range []string{"Events", "Observer"} {
				if !outer.MethodByName(bag).IsValid() {
					continue // an SFU has no Events
				}
				from := inner.MethodByName(bag).Call(nil)[0].Elem()
				to := outer.MethodByName(bag).Call(nil)[0].Elem()
				seen[from.Type()] = true
				for i := range from.NumField() {
					name := from.Type().Field(i).Name
					if closing != (strings.HasSuffix(name, "Close") || name == "Died") {
						continue
					}
					heard := listen(to.FieldByName(name).Addr())
					emit := from.Field(i).Addr().MethodByName("Emit")
					emit.Call([]reflect.Value{reflect.Zero(emit.Type().In(0))})
					assert.Equal(t, 1, *heard, "%T: %s of %s", o, name, bag)
				}
			}
		}
	}
	require.Len(t, seen, 19, "9 kinds of objects have both bags, an SFU has one")
}

// listen counts what the event is that e points to.
func listen(e reflect.Value) *int {
	n := new(int)
	on := e.MethodByName("On")
	f := reflect.MakeFunc(on.Type().In(0), func([]reflect.Value) []reflect.Value {
		*n++
		return nil
	})
	on.Call([]reflect.Value{f})
	return n
}

// carriers are the places in options, results and events where an object is,
// other than as a whole argument, result or event. Each needs code that
// exchanges the inner and the outer one.
var carriers = []string{
	"AudioLevelVolume.Producer",
	"DominantSpeaker.Producer",
	"PipeToRouterOptions.Router",
	"PipeToRouterResult.PipeConsumer",
	"PipeToRouterResult.PipeDataConsumer",
	"PipeToRouterResult.PipeDataProducer",
	"PipeToRouterResult.PipeProducer",
	"WebRTCTransportOptions.WebRTCServer",
}

// TestEveryCarrierIsKnown fails when the API gains a struct that holds an object.
func TestEveryCarrierIsKnown(t *testing.T) {
	var found []string
	lifetime := reflect.TypeFor[mafalda.Lifetime]()
	seen := map[reflect.Type]bool{}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			walk(typ.Elem())
		case reflect.Map:
			walk(typ.Key())
			walk(typ.Elem())
		case reflect.Func:
			for i := range typ.NumIn() {
				walk(typ.In(i))
			}
			for i := range typ.NumOut() {
				walk(typ.Out(i))
			}
		case reflect.Interface:
			for i := range typ.NumMethod() {
				walk(typ.Method(i).Type)
			}
		case reflect.Struct:
			if e, ok := reflect.PointerTo(typ).MethodByName("Emit"); ok {
				walk(e.Type.In(1))
				return
			}
			for i := range typ.NumField() {
				f := typ.Field(i)
				if f.Type.Kind() == reflect.Interface && f.Type.Implements(lifetime) {
					found = append(found, typ.Name()+"."+f.Name)
				}
				walk(f.Type)
			}
		}
	}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[mafalda.SFU](), reflect.TypeFor[mafalda.WebRTCTransport](), reflect.TypeFor[mafalda.PlainTransport](),
		reflect.TypeFor[mafalda.PipeTransport](), reflect.TypeFor[mafalda.DirectTransport](),
		reflect.TypeFor[mafalda.LoadReporter](), reflect.TypeFor[mafalda.CounterReporter](), reflect.TypeFor[mafalda.Killer](),
	} {
		walk(typ)
	}
	slices.Sort(found)
	assert.Equal(t, carriers, found)
}

// TestEveryMethodIsPassedThrough fails when the objects of mafalda.New get a method,
// of an ability that is asked for by a type assertion, which is not passed through.
func TestEveryMethodIsPassedThrough(t *testing.T) {
	sctp := reflect.TypeFor[mafalda.WebRTCTransport]() // a DirectTransport has its methods too, but nobody may know
	for _, o := range newWorld(t, wrap.NewSpace(wrap.Hooks{})).childrenFirst() {
		outer := reflect.ValueOf(o)
		inner := outer.MethodByName("Inner").Call(nil)[0].Elem()
		for m := range inner.Type().Methods() {
			if _, ok := sctp.MethodByName(m.Name); !ok && !strings.Contains(m.Type.String(), "driver.Driver") { // of internal, which nobody can name
				assert.True(t, outer.MethodByName(m.Name).IsValid(), "%T lacks %s", o, m.Name)
			}
		}
	}
}

// TestAbilities checks that what objects can do besides is passed through, and what
// an inner object can't do is said.
func TestAbilities(t *testing.T) {
	x := newWorld(t, wrap.NewSpace(wrap.Hooks{}))
	_, err := x.worker.(mafalda.LoadReporter).Load(t.Context())
	require.NoError(t, err)
	c, err := x.worker.(mafalda.CounterReporter).Counters(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, c.Drops)

	modest := wrap.NewSpace(wrap.Hooks{}).Worker(modestWorker{x.worker})
	l, err := modest.(mafalda.LoadReporter).Load(t.Context())
	require.NoError(t, err)
	require.Zero(t, l, "after one reading")
	_, err = modest.(mafalda.CounterReporter).Counters(t.Context())
	requireUnsupported(t, err)
	requireUnsupported(t, modest.(mafalda.Killer).Kill(nil))

	var file bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = x.plain.(mafalda.PacketTapper).Tap(ctx, &file, mafalda.TapOptions{})
	require.ErrorIs(t, err, context.Canceled)
	_, err = x.plain.(mafalda.PacketTapper).Tap(t.Context(), &file, mafalda.TapOptions{MaxPackets: -1})
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
	_, err = wrap.NewSpace(wrap.Hooks{}).PlainTransport(modestTransport{x.plain}).(mafalda.PacketTapper).Tap(t.Context(), &file, mafalda.TapOptions{})
	requireUnsupported(t, err)

	require.NoError(t, x.worker.(mafalda.Killer).Kill(nil))
	<-x.worker.Done()
	require.True(t, x.worker.Died())
	require.ErrorIs(t, x.worker.(mafalda.Killer).Kill(nil), mafalda.ErrWorkerClosed)
	<-modest.Done()
}

// A modestWorker has no abilities but those of every Worker.
type modestWorker struct{ mafalda.Worker }

// A modestTransport has none but those of every PlainTransport.
type modestTransport struct{ mafalda.PlainTransport }

func requireUnsupported(t testing.TB, err error) {
	t.Helper()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorAs(t, err, new(*mafalda.Error))
}
