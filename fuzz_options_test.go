package mafalda_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
)

// FuzzOptions makes calls with options that are nearly right, of every struct
// that reaches the engine. None panics or kills the Worker; every error is of
// one class, and what failed has changed nothing.
func FuzzOptions(f *testing.F) {
	for i := range 40 {
		seed := make([]byte, 60)
		for j := range seed {
			seed[j] = byte(i*31 + j*(i+7))
		}
		f.Add(seed)
	}
	for op := range byte(optionCalls) { // each call as it should be, twice
		f.Add([]byte{0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0, op, 0, 0, op, 0, 0, 4, 0, 0, op, 0, 0})
	}
	sfu := mafalda.New()
	f.Cleanup(func() { require.NoError(f, sfu.Close()) })
	var died error
	newWorker := func(t testing.TB) mafalda.Worker {
		w, err := sfu.CreateWorker(context.Background(), mafalda.WorkerSettings{})
		require.NoError(t, err)
		w.Events().Died.On(func(err error) { died = err })
		return w
	}
	worker := newWorker(f)

	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 400)]
		x := newBench(t, worker, &source{b: b})
		for n := 0; len(x.s.b) > 0 && n < 16; n++ {
			before := x.dump()
			name, err := x.call()
			if x.worker.Died() {
				worker = newWorker(t)
				t.Fatalf("%s killed the Worker: %v", name, died)
			}
			if err != nil {
				oneClass(t, err)
				require.Equal(t, before, x.dump(), "%s failed, but changed something: %v", name, err)
			}
		}
		x.close()
	})
}

var certificate, certificateKey, _ = mafalda.GenerateDTLSCertificate()

// A source makes choices of bytes; when they are used up each is the first.
type source struct{ b []byte }

func (s *source) n(n int) int {
	if len(s.b) == 0 {
		return 0
	}
	v := int(s.b[0])
	s.b = s.b[1:]
	return v % n
}

func pick[T any](s *source, list ...T) T { return list[s.n(len(list))] }

// A bench has one Router with objects to try options on.
type bench struct {
	t       *testing.T
	s       *source
	worker  mafalda.Worker
	router  mafalda.Router
	routers []mafalda.Router
	servers []mafalda.WebRTCServer
}

func newBench(t *testing.T, w mafalda.Worker, s *source) *bench {
	x := &bench{t: t, s: s, worker: w}
	var err error
	x.router, err = w.CreateRouter(t.Context(), routerOptions())
	require.NoError(t, err)
	x.servers = append(x.servers, newServer(t, w))
	return x
}

func routerOptions() mafalda.RouterOptions {
	return mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2, Parameters: map[string]any{"useinbandfec": 1}},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/H264", ClockRate: 90000, PreferredPayloadType: new(uint8(110)), Parameters: map[string]any{"packetization-mode": 1, "profile-level-id": "42e01f"}},
	}}
}

// close closes everything; nothing may stay in the Worker.
func (x *bench) close() {
	require.NoError(x.t, x.router.Close())
	for _, r := range x.routers {
		require.NoError(x.t, r.Close())
	}
	for _, s := range x.servers {
		require.NoError(x.t, s.Close())
	}
	d, err := x.worker.Dump(x.t.Context())
	require.NoError(x.t, err)
	require.Empty(x.t, d.MessageHandlers.RequestHandlers)
	require.Empty(x.t, d.RouterIDs)
	require.Empty(x.t, d.WebRTCServerIDs)
}

// dump returns the state of everything as text.
func (x *bench) dump() string {
	ctx := x.t.Context()
	var b strings.Builder
	add := func(v any, err error) {
		require.NoError(x.t, err)
		text, err := json.Marshal(v)
		require.NoError(x.t, err, "%+v", v)
		b.Write(text)
		b.WriteByte('\n')
	}
	add(x.worker.Dump(ctx))
	for _, s := range x.worker.WebRTCServers() {
		add(s.Dump(ctx))
	}
	for _, r := range x.worker.Routers() {
		add(r.Dump(ctx))
		add(r.RTPCapabilities(), nil)
		for _, tr := range r.Transports() {
			add(tr.Dump(ctx))
			for _, p := range tr.Producers() {
				add(p.Dump(ctx))
				add(p.RTPParameters(), nil)
			}
			for _, c := range tr.Consumers() {
				add(c.Dump(ctx))
				add(c.RTPParameters(), nil)
			}
			for _, p := range tr.DataProducers() {
				add(p.Dump(ctx))
			}
			for _, c := range tr.DataConsumers() {
				add(c.Dump(ctx))
			}
		}
	}
	return b.String()
}

const optionCalls = 23

// call makes one call with options that were changed a little.
func (x *bench) call() (name string, err error) {
	ctx, s := x.t.Context(), x.s
	listen := mafalda.ListenInfo{Protocol: mafalda.ProtocolUDP, IP: loopback}
	transports := x.router.Transports()
	var tr mafalda.Transport
	var producers []mafalda.Producer
	var consumers []mafalda.Consumer
	var dataProducers []mafalda.DataProducer
	var dataConsumers []mafalda.DataConsumer
	for _, tr := range transports {
		producers = append(producers, tr.Producers()...)
		consumers = append(consumers, tr.Consumers()...)
		dataProducers = append(dataProducers, tr.DataProducers()...)
		dataConsumers = append(dataConsumers, tr.DataConsumers()...)
	}
	op := s.n(optionCalls)
	if len(transports) > 0 {
		tr = transports[s.n(len(transports))]
	}
	switch op {
	case 0:
		o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listen}}
		if s.n(2) == 1 {
			o = mafalda.WebRTCTransportOptions{WebRTCServer: x.servers[s.n(len(x.servers))]}
		}
		o.EnableSCTP = s.n(2) == 0
		if s.n(4) == 3 {
			o.DTLSCertificate, o.DTLSPrivateKey = certificate, certificateKey
		}
		x.mutate(&o)
		_, err = x.router.CreateWebRTCTransport(ctx, o)
		return "CreateWebRTCTransport", err
	case 1:
		o := mafalda.PlainTransportOptions{ListenInfo: listen, EnableSRTP: s.n(2) == 1}
		o.EnableSCTP = s.n(2) == 0
		x.mutate(&o)
		_, err = x.router.CreatePlainTransport(ctx, o)
		return "CreatePlainTransport", err
	case 2:
		var o mafalda.DirectTransportOptions
		x.mutate(&o)
		_, err = x.router.CreateDirectTransport(ctx, o)
		return "CreateDirectTransport", err
	case 3, 4:
		if tr == nil {
			return "nothing", nil
		}
		o := audio(uint32(1 + s.n(3)))
		if s.n(3) > 0 {
			o = video(uint32(s.n(3)), pick(s, "v", "w", ""))
		}
		x.mutate(&o)
		_, err = tr.Produce(ctx, o)
		return "Produce", err
	case 5, 6:
		if tr == nil || len(producers) == 0 {
			return "nothing", nil
		}
		o := mafalda.ConsumerOptions{ProducerID: producers[s.n(len(producers))].ID(), RTPCapabilities: x.router.RTPCapabilities()}
		x.mutate(&o)
		_, err = tr.Consume(ctx, o)
		return "Consume", err
	case 7:
		w, ok := tr.(mafalda.WebRTCTransport)
		if !ok {
			return "nothing", nil
		}
		o := mafalda.WebRTCTransportConnectOptions{DTLSParameters: w.DTLSParameters()}
		x.mutate(&o)
		return "WebRTCTransport.Connect", w.Connect(ctx, o)
	case 8:
		p, ok := tr.(mafalda.PlainTransport)
		if !ok {
			return "nothing", nil
		}
		o := mafalda.PlainTransportConnectOptions{IP: loopback, Port: 9}
		if p.SRTPParameters() != nil {
			o.SRTPParameters = &mafalda.SRTPParameters{CryptoSuite: mafalda.SRTPAES128GCM, KeyBase64: base64.StdEncoding.EncodeToString(make([]byte, 28))}
		}
		x.mutate(&o)
		return "PlainTransport.Connect", p.Connect(ctx, o)
	case 9:
		if tr == nil {
			return "nothing", nil
		}
		return "SetMaxIncomingBitrate", tr.SetMaxIncomingBitrate(ctx, pick(s, 0, 1, -1, 600_000, math.MaxInt, math.MinInt, math.MaxInt32))
	case 10:
		o := mafalda.WebRTCServerOptions{ListenInfos: []mafalda.ListenInfo{listen, {Protocol: mafalda.ProtocolTCP, IP: loopback}}}
		x.mutate(&o)
		server, err := x.worker.CreateWebRTCServer(ctx, o)
		if err == nil {
			x.servers = append(x.servers, server)
		}
		return "CreateWebRTCServer", err
	case 11:
		o := routerOptions()
		x.mutate(&o)
		r, err := x.worker.CreateRouter(ctx, o)
		if err == nil {
			x.routers = append(x.routers, r)
		}
		return "CreateRouter", err
	case 12:
		o := routerOptions()
		x.mutate(&o)
		return "UpdateMediaCodecs", x.router.UpdateMediaCodecs(ctx, o.MediaCodecs)
	case 13:
		o := mafalda.WorkerUpdateableSettings{}
		x.mutate(&o)
		return "UpdateSettings", x.worker.UpdateSettings(ctx, o)
	case 14:
		if len(producers) == 0 {
			return "nothing", nil
		}
		p := producers[s.n(len(producers))]
		types := []mafalda.TraceEventType{mafalda.TraceRTP}
		x.mutate(&types)
		if err := p.EnableTraceEvent(ctx, types...); err != nil {
			return "Producer.EnableTraceEvent", err
		}
		if s.n(2) == 0 {
			return "Pause", p.Pause(ctx)
		}
		return "Resume", p.Resume(ctx)
	case 15:
		if len(producers) == 0 {
			return "nothing", nil
		}
		p := producers[s.n(len(producers))]
		b := vp8(uint32(s.n(4)), uint16(s.n(256)), s.n(2) == 0, pick(s, "", "v", "w"))
		x.mutate(&b)
		return "Send", p.Send(b)
	case 16:
		if d, ok := tr.(mafalda.DirectTransport); ok {
			b := []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7}
			x.mutate(&b)
			return "SendRTCP", d.SendRTCP(b)
		}
		if w, ok := tr.(mafalda.WebRTCTransport); ok {
			_, err := w.RestartICE(ctx)
			return "RestartICE", err
		}
		return "nothing", nil
	case 17:
		if tr == nil {
			return "nothing", nil
		}
		o := mafalda.DataProducerOptions{SCTPStreamParameters: &mafalda.SCTPStreamParameters{StreamID: uint16(s.n(4))}}
		x.mutate(&o)
		_, err = tr.ProduceData(ctx, o)
		return "ProduceData", err
	case 18:
		if tr == nil || len(dataProducers) == 0 {
			return "nothing", nil
		}
		o := mafalda.DataConsumerOptions{DataProducerID: dataProducers[s.n(len(dataProducers))].ID()}
		x.mutate(&o)
		_, err = tr.ConsumeData(ctx, o)
		return "ConsumeData", err
	case 19:
		if len(dataProducers) == 0 {
			return "nothing", nil
		}
		m := mafalda.TextMessage("text")
		x.mutate(&m)
		return "DataProducer.Send", dataProducers[s.n(len(dataProducers))].Send(m)
	case 20:
		if len(dataConsumers) == 0 {
			return "nothing", nil
		}
		c := dataConsumers[s.n(len(dataConsumers))]
		switch s.n(4) {
		case 0:
			return "SetSubchannels", c.SetSubchannels(ctx, []uint16{uint16(s.n(256)), uint16(s.n(256)), 1})
		case 1:
			return "SetBufferedAmountLowThreshold", c.SetBufferedAmountLowThreshold(ctx, pick(s, 0, -1, 1, math.MaxUint32, math.MaxInt, math.MinInt))
		case 2:
			return "DataConsumer.Pause", c.Pause(ctx)
		}
		m := mafalda.TextMessage("text")
		x.mutate(&m)
		_, err := c.Send(ctx, m)
		return "DataConsumer.Send", err
	case 21:
		if tr == nil {
			return "nothing", nil
		}
		bitrate := pick(s, 0, 100_000, -1, 29_999, 30_000, 600_000, math.MaxUint32, math.MaxInt, math.MinInt)
		switch s.n(3) {
		case 0:
			return "SetMaxOutgoingBitrate", tr.SetMaxOutgoingBitrate(ctx, bitrate)
		case 1:
			return "SetMinOutgoingBitrate", tr.SetMinOutgoingBitrate(ctx, bitrate)
		}
		types := []mafalda.TraceEventType{mafalda.TraceProbation, mafalda.TraceBWE}
		x.mutate(&types)
		return "Transport.EnableTraceEvent", tr.EnableTraceEvent(ctx, types...)
	}
	// Anything that closes, so that later calls meet what is gone.
	switch {
	case len(dataConsumers) > 0 && s.n(3) == 0:
		require.NoError(x.t, dataConsumers[s.n(len(dataConsumers))].Close())
	case len(dataProducers) > 0 && s.n(3) == 0:
		require.NoError(x.t, dataProducers[s.n(len(dataProducers))].Close())
	case len(consumers) > 0 && s.n(3) == 0:
		c := consumers[s.n(len(consumers))]
		require.NoError(x.t, c.RequestKeyFrame(ctx))
		require.NoError(x.t, c.Close())
	case len(producers) > 0 && s.n(3) == 0:
		require.NoError(x.t, producers[s.n(len(producers))].Close())
	case tr != nil && s.n(2) == 0:
		require.NoError(x.t, tr.Close())
		_, err := tr.Dump(ctx)
		require.ErrorIs(x.t, err, mafalda.ErrClosed)
	default:
		server := x.servers[s.n(len(x.servers))]
		require.NoError(x.t, server.Close())
	}
	return "Close", nil
}

// mutate changes up to three things somewhere in what p points to.
func (x *bench) mutate(p any) {
	for range x.s.n(4) {
		x.change(reflect.ValueOf(p).Elem())
	}
}

// change changes one thing in v, or in something that v holds.
func (x *bench) change(v reflect.Value) {
	s := x.s
	switch v.Type() {
	case reflect.TypeFor[netip.Addr]():
		v.Set(reflect.ValueOf(pick(s, netip.Addr{}, loopback, netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.2"),
			netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("fe80::1%lo"),
			netip.MustParseAddr("2001:db8::1"))))
		return
	case reflect.TypeFor[time.Duration]():
		v.SetInt(int64(pick(s, 0, -1, 1, time.Millisecond, 9*time.Second, 10*time.Second, time.Minute, time.Hour, math.MaxInt64, math.MinInt64)))
		return
	case reflect.TypeFor[mafalda.WebRTCServer]():
		foreign := struct{ mafalda.WebRTCServer }{x.servers[0]}
		v.Set(reflect.ValueOf(pick[mafalda.WebRTCServer](s, x.servers[s.n(len(x.servers))], foreign)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		x.change(v.Field(s.n(v.NumField())))
	case reflect.Pointer:
		if v.IsNil() || s.n(4) == 0 {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			} else {
				v.SetZero()
			}
			return
		}
		c := reflect.New(v.Type().Elem()) // not the original, which may be shared
		c.Elem().Set(v.Elem())
		v.Set(c)
		x.change(c.Elem())
	case reflect.Slice:
		x.changeSlice(v)
	case reflect.Map:
		c := reflect.MakeMap(v.Type())
		for _, k := range v.MapKeys() {
			c.SetMapIndex(k, v.MapIndex(k))
		}
		key := pick(s, "apt", "packetization-mode", "profile-level-id", "useinbandfec", "usedtx", "level-asymmetry-allowed", "x", "")
		c.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(pick[any](s,
			0, 1, 96, -1, 1<<40, 0.5, 96.0, math.NaN(), math.Inf(1), "", "1", "42e01f", "zz", true, []int{1}, map[string]any{}, any(uint8(96)))))
		v.Set(c)
	case reflect.String:
		v.SetString(pick(s, "", "x", "udp", "tcp", "audio", "video", "audio/opus", "video/VP8", "video/rtx", "video/H264", "audio/OPUS", "video/AV1",
			"video/unknown", "opus", "a/b/c", "nack", "pli", "ccm", "fir", "goog-remb", "transport-cc", "L1T3", "L3T3_KEY", "S2T1", "L99T99", "client", "server", "auto",
			"sha-1", "sha-256", "AB:CD", strings.Repeat("AB:", 31)+"AB", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_32", "AAAA", "!", "\x00", "ü",
			strings.Repeat("x", 9), strings.Repeat("x", 300), string(mafalda.RTPHeaderExtensionMID), string(mafalda.RTPHeaderExtensionTransportWideCC),
			string(mafalda.RTPHeaderExtensionAbsSendTime), "rtp", "keyframe", "bwe", "sendonly", "inactive", "debug", "ice", "0", "1"))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(pick[int64](s, 0, 1, -1, 64, 2048, 1<<20, 1<<31, math.MaxInt64, math.MinInt64))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(pick[uint64](s, 0, 1, 2, 14, 15, 16, 96, 97, 100, 101, 111, 127, 128, 255, 9, 48000, 90000, math.MaxUint16, math.MaxUint32) & (1<<v.Type().Bits() - 1))
	}
}

// changeSlice changes v in a copy.
func (x *bench) changeSlice(v reflect.Value) {
	s, n := x.s, v.Len()
	c := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, n+1), v)
	switch how := s.n(6); {
	case how == 0:
		c = reflect.Append(c, reflect.Zero(v.Type().Elem()))
	case how == 1 && n > 0:
		c = reflect.Append(c, c.Index(s.n(n)))
	case how == 2 && n > 0:
		c = c.Slice(0, s.n(n))
	case n > 0:
		x.change(c.Index(s.n(n)))
	}
	v.Set(c)
}
