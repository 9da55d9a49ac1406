package mafalda_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// TestAbusePeer is a peer with good keys that sends and answers as it likes.
func TestAbusePeer(t *testing.T) {
	s := newSiege(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, tcp := range []bool{false, true} {
		in, sender := dial(t, s.router, webRTCOptions(), peer.Config{TCP: tcp})
		out, receiver := dial(t, s.router, webRTCOptions(), peer.Config{TCP: tcp})
		producer := produce(t, in, video(100, "v"))
		consumer := consume(t, s.router, out, producer)
		require.NoError(t, producer.EnableTraceEvent(t.Context(), mafalda.TraceRTP, mafalda.TraceKeyFrame, mafalda.TraceNACK, mafalda.TracePLI, mafalda.TraceFIR, mafalda.TraceSR))
		require.NoError(t, consumer.EnableTraceEvent(t.Context(), mafalda.TraceRTP, mafalda.TraceNACK, mafalda.TracePLI))
		require.NoError(t, in.SetMaxIncomingBitrate(t.Context(), 100_000))
		ssrc := consumer.RTPParameters().Encodings[0].SSRC
		var f flood
		for i := range much(4000, 300_000) {
			b := vp8(100, uint16(rng.IntN(300)), rng.IntN(9) == 0, "v")
			if rng.IntN(3) == 0 {
				b = hostileRTP(rng)
			}
			require.NoError(t, sender.WriteRTP(b))
			require.NoError(t, receiver.WriteRTCP(hostileRTCP(rng, ssrc)))
			if i%4 == 0 {
				require.NoError(t, sender.WriteRTCP(hostileRTCP(rng, 100)))
			}
			f.pace()
		}
		_, err := consumer.Stats(t.Context())
		require.NoError(t, err)
		_, err = producer.Dump(t.Context())
		require.NoError(t, err)
		sender.Close()
		receiver.Close()
		require.NoError(t, in.Close())
		require.NoError(t, out.Close())
	}
	s.end(48) // the pool keeps what the retransmission store had
}

// hostileRTP returns a packet that can be encrypted, and has little sense.
func hostileRTP(rng *rand.Rand) []byte {
	p := rtp.Packet{Header: rtp.Header{
		Version: 2, Marker: rng.IntN(2) == 0, PayloadType: [...]uint8{96, 97, 0, uint8(rng.IntN(128))}[rng.IntN(4)],
		SequenceNumber: uint16(rng.Uint32()), Timestamp: rng.Uint32(), SSRC: [...]uint32{100, 101, 0, rng.Uint32()}[rng.IntN(4)],
	}}
	for range rng.IntN(4) {
		p.CSRC = append(p.CSRC, rng.Uint32())
	}
	if rng.IntN(2) == 0 {
		p.Extension, p.ExtensionProfile = true, [...]uint16{0xbede, 0x1000, 0x1234}[rng.IntN(3)]
		if p.ExtensionProfile == 0x1234 {
			p.SetExtension(0, fill(rng, make([]byte, 4*rng.IntN(30))))
		} else {
			for range 1 + rng.IntN(6) {
				p.SetExtension(uint8(1+rng.IntN(14)), fill(rng, make([]byte, 1+rng.IntN(16))))
			}
		}
	}
	p.Payload = fill(rng, make([]byte, [...]int{0, 1, 2, rng.IntN(40), rng.IntN(1300)}[rng.IntN(5)]))
	b, err := p.Marshal()
	if err != nil {
		return vp8(100, 0, true, "")
	}
	return b
}

// hostileRTCP returns a compound about ssrc: of valid packets, mostly.
func hostileRTCP(rng *rand.Rand, ssrc uint32) (b []byte) {
	for range 1 + rng.IntN(5) {
		words := rng.IntN(60)
		body := fill(rng, make([]byte, 4*words))
		typ, count := [...]byte{200, 201, 202, 203, 204, 205, 206, 207}[rng.IntN(8)], byte(rng.IntN(32))
		if typ >= 205 && typ <= 206 {
			count = [...]byte{1, 4, 15, count}[rng.IntN(4)]
		}
		for i := 0; i+4 <= len(body); i += 4 {
			if rng.IntN(3) == 0 {
				binary.BigEndian.PutUint32(body[i:], ssrc)
			}
		}
		if typ == 201 || typ == 200 {
			count = byte(max(words-1, 0) / 6)
		}
		b = append(b, 0x80|count&31, typ, byte(words>>8), byte(words))
		b = append(b, body...)
		if len(b) > 1000 {
			break
		}
	}
	if len(b) < 8 {
		b = append(b, 0x80, 201, 0, 1, 0, 0, 0, 1)
	}
	return b
}

// TestAbuseSSRCs sends each packet in another stream, which its MID or RID
// leads to the Producer all the same.
func TestAbuseSSRCs(t *testing.T) {
	s := newSiege(t)
	tr, e := dial(t, s.router, webRTCOptions(), peer.Config{})
	producer := produce(t, tr, video(0, "v"))
	require.NoError(t, e.WriteRTP(vp8(77, 1, true, "v")))
	require.Eventually(t, func() bool { return received(t, producer) == 1 }, 5*time.Second, time.Millisecond)
	var f flood
	for i := range much(15_000, 100_000) {
		require.NoError(t, e.WriteRTP(vp8(uint32(1000+i), uint16(i), i%50 == 0, "v")))
		f.pace()
	}
	d, err := tr.Dump(t.Context())
	require.NoError(t, err)
	require.Less(t, len(d.RTPListener.SSRCTable), 2000)
	p, err := producer.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, p.RTPStreams, 1)
	before := received(t, producer)
	for i := range 20 {
		require.NoError(t, e.WriteRTP(vp8(77, uint16(2+i), false, "v")))
	}
	require.Eventually(t, func() bool { return received(t, producer) == before+20 }, 5*time.Second, 5*time.Millisecond)
	e.Close()
	require.NoError(t, tr.Close())
	s.end(24)
}

// TestAbuseSlowListeners never returns from listeners while their events pour
// in; packets go on, and the events that wait are few.
func TestAbuseSlowListeners(t *testing.T) {
	s := newSiege(t)
	in, sender := dial(t, s.router, webRTCOptions(), peer.Config{})
	out, receiver := dial(t, s.router, webRTCOptions(), peer.Config{Queue: 1 << 16})
	direct, err := s.router.CreateDirectTransport(t.Context(), mafalda.DirectTransportOptions{})
	require.NoError(t, err)
	producer := produce(t, in, video(100, "v"))
	consume(t, s.router, out, producer)
	watcher := consume(t, s.router, direct, producer)
	require.NoError(t, producer.EnableTraceEvent(t.Context(), mafalda.TraceRTP, mafalda.TraceSR))
	let := make(chan struct{})
	var block atomic.Bool // the next listener
	var heard atomic.Int64
	block.Store(true)
	listen := func() {
		if heard.Add(1); block.Swap(false) {
			<-let
		}
	}
	watcher.Events().RTP.On(func([]byte) { listen() })
	producer.Events().Trace.On(func(mafalda.TraceEvent) { listen() })
	producer.Events().Score.On(func([]mafalda.ProducerScore) { listen() })
	producer.Events().VideoOrientationChange.On(func(mafalda.ProducerVideoOrientation) { listen() })
	in.Events().ICESelectedTupleChange.On(func(mafalda.TransportTuple) { listen() })
	// What its listener hears comes after all that waits.
	marker := produce(t, direct, audio(1))
	marked := make(chan struct{}, 1)
	consume(t, s.router, direct, marker).Events().RTP.On(func([]byte) { marked <- struct{}{} })

	total := much(6000, 300_000)
	var f flood
	for i := range total {
		var p rtp.Packet
		require.NoError(t, p.Unmarshal(vp8(100, uint16(i), i%100 == 0, "v")))
		require.NoError(t, p.SetExtension(8, []byte{byte(i & 3)})) // turns the camera
		b, err := p.Marshal()
		require.NoError(t, err)
		require.NoError(t, sender.WriteRTP(b))
		if i%50 == 0 {
			require.NoError(t, sender.WriteRTCP([]byte{0x80, 200, 0, 6, 0, 0, 0, 100, 1, 2, 3, byte(i), 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}))
		}
		f.pace()
		if i%500 == 499 { // so that no buffer of the system is the limit
			require.Eventually(t, func() bool { return received(t, producer) == uint64(i+1) }, 30*time.Second, time.Millisecond)
		}
	}
	blocked := func() bool { return !block.Load() }
	require.Eventually(t, blocked, 10*time.Second, time.Millisecond, "no listener was called")
	require.EqualValues(t, 1, heard.Load())
	require.Eventually(t, func() bool { return received(t, producer) == uint64(total) }, 10*time.Second, 5*time.Millisecond)
	// The peer of this test may be too slow to read them all.
	require.Eventually(t, func() bool { return len(receiver.RTP())+int(receiver.Overflow()) >= total*9/10 }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, marker.Send(opus(1, 1, []byte{1})))
	let <- struct{}{}
	select {
	case <-marked:
	case <-time.After(10 * time.Second):
		t.Fatal("the listeners are still stuck")
	}
	require.Less(t, heard.Load(), int64(3000), "events that waited")

	// While a listener is stuck everything can be closed.
	block.Store(true)
	require.NoError(t, sender.WriteRTP(vp8(100, uint16(total), true, "v")))
	require.Eventually(t, blocked, 10*time.Second, time.Millisecond, "no listener was called again")
	require.NoError(t, producer.Close())
	require.NoError(t, direct.Close())
	close(let)
	sender.Close()
	receiver.Close()
	require.NoError(t, in.Close())
	require.NoError(t, out.Close())
	s.end(48)
}
