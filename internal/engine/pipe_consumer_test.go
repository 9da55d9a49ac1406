package engine

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A layerWorld is a Machine with one video Producer on the plain transport
// "in" and whatever Consumers a test makes.
type layerWorld struct {
	*virtualWorld
	in, out   netip.AddrPort
	source    *virtualUDP
	sink      *virtualUDP
	sent      []rtp.Packet // to the sink
	control   [][]byte     // RTCP to the sink
	requested []uint32     // media SSRCs of PLIs to the source
	seqs      map[uint32]uint16
	unmanaged bool              // nobody shares the bandwidth
	picture   map[uint32]uint16 // of the last frame
	tl0       map[uint32]uint8
}

func newLayerWorld(t testing.TB) *layerWorld {
	w := &layerWorld{virtualWorld: newVirtualWorld(t), seqs: map[uint32]uint16{}, picture: map[uint32]uint16{}, tl0: map[uint32]uint8{}}
	w.in, w.out = netip.MustParseAddrPort("10.0.0.2:5000"), netip.MustParseAddrPort("10.0.0.3:5000")
	require.NoError(t, w.m.CreateRouter("r"))
	plain := func(id string, port uint16, remote netip.AddrPort) *virtualUDP {
		local := netip.MustParseAddr("10.0.0.1")
		_, err := w.m.CreatePlainTransport("r", PlainTransportOptions{
			ID: id, ListenInfo: ListenInfo{Protocol: UDP, IP: local, Port: port},
		})
		require.NoError(t, err)
		_, err = w.m.ConnectPlain(id, PlainConnectOptions{Remote: remote})
		require.NoError(t, err)
		return w.socket(netip.AddrPortFrom(local, port))
	}
	w.source, w.sink = plain("in", 1, w.in), plain("out", 2, w.out)
	w.d.onUDP = func(s *virtualUDP, _ netip.AddrPort, b []byte) {
		isRTCP := b[1] >= 192 && b[1] <= 223
		switch {
		case s == w.sink && isRTCP:
			w.control = append(w.control, b)
		case s == w.sink:
			w.sent = append(w.sent, rtp.Packet(b))
		case isRTCP:
			for r := rtcp.NewReader(b); ; {
				p, ok := r.Next()
				if !ok {
					break
				}
				if p.Type() == rtcp.TypePSFB && p.Format() == rtcp.FormatPLI {
					w.requested = append(w.requested, p.MediaSSRC())
				}
			}
		}
	}
	return w
}

// produce makes the Producer "p" with these encodings, which Consumers know as
// SSRCs 7, 8, …
func (w *layerWorld) produce(mime string, encodings ...Encoding) ProducerType {
	w.t.Helper()
	params := vp8Params(1, 0, "")
	params.Codecs[0].MimeType = mime
	params.Encodings = encodings
	mapping := identity(params, 7)
	mapping.Encodings = nil
	for i, e := range encodings {
		mapping.Encodings = append(mapping.Encodings, EncodingMapping{SSRC: e.SSRC, RID: e.RID, MappedSSRC: uint32(7 + i)})
	}
	typ, err := w.m.Produce("in", ProduceOptions{ID: "p", Kind: Video, RTPParameters: params, RTPMapping: mapping})
	require.NoError(w.t, err)
	w.flush()
	return typ
}

// consume makes a Consumer of "p", "c" if it has no other id.
func (w *layerWorld) consume(o ConsumeOptions, encodings ...Encoding) ConsumeResult {
	w.t.Helper()
	p := w.m.producers["p"]
	o.ID, o.ProducerID = cmp.Or(o.ID, "c"), "p"
	o.RTPParameters = vp8Params(1, 0, "")
	o.RTPParameters.Codecs[0].MimeType = p.params.Codecs[0].MimeType
	o.RTPParameters.Encodings = encodings
	if feedback := &o.RTPParameters.Codecs[0].Feedback; w.unmanaged {
		*feedback = slices.DeleteFunc(*feedback, func(f Feedback) bool { return f.Type == "transport-cc" })
	}
	for i := range p.params.Encodings {
		o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{
			SSRC: uint32(7 + i), ScalabilityMode: p.params.Encodings[i].ScalabilityMode,
		})
	}
	r, err := w.m.Consume("out", o)
	require.NoError(w.t, err)
	w.flush()
	return r
}

// media delivers a packet of the source; the sequence number is the next of the
// stream.
func (w *layerWorld) media(ssrc, timestamp uint32, marker bool, payload ...byte) {
	w.seqs[ssrc]++
	w.mediaAt(ssrc, w.seqs[ssrc], timestamp, marker, payload...)
}

func (w *layerWorld) mediaAt(ssrc uint32, seq uint16, timestamp uint32, marker bool, payload ...byte) {
	b := rtp.AppendHeader(nil, rtp.Header{
		Marker: marker, PayloadType: 101, SequenceNumber: seq, Timestamp: timestamp, SSRC: ssrc,
	}, rigElements)
	w.udp(w.source, w.in, append(b, payload...))
}

// take returns what was sent to the sink since the last call.
func (w *layerWorld) take() []rtp.Packet {
	sent := w.sent
	w.sent = nil
	return sent
}

func (w *layerWorld) takeRequested() []uint32 {
	r := w.requested
	w.requested = nil
	return r
}

var (
	keyVP8   = []byte{0x10, 0, 2, 0, 9, 9}
	deltaVP8 = []byte{0x10, 1, 2, 0, 9, 9}
)

// A pipe Consumer that negotiated feedback has the bandwidth estimated, though it
// takes no part in what is shared.
func TestPipeBandwidth(t *testing.T) {
	w := newLayerWorld(t)
	require.Equal(t, SimulcastType, w.produce("video/VP8", Encoding{SSRC: 11}, Encoding{SSRC: 12}))
	w.consume(ConsumeOptions{Pipe: true}, Encoding{SSRC: 21}, Encoding{SSRC: 22})
	w.media(11, 500, true, keyVP8...)
	w.media(12, 500, true, keyVP8...)
	var numbers []uint16
	for _, pkt := range w.take() {
		if pkt.SSRC() == 21 || pkt.SSRC() == 22 {
			numbers = append(numbers, binary.BigEndian.Uint16(pkt.Extension(rtp.IDTransportWideCC)))
		}
	}
	require.Len(t, numbers, 2)
	require.NotZero(t, numbers[0])
	require.Equal(t, numbers[0]+1, numbers[1])
	s, err := w.m.TransportStats("out")
	require.NoError(t, err)
	require.True(t, s.Estimated)
	require.Zero(t, w.m.consumers["c"].desiredBitrate())
}

// TestPipe: one stream for each encoding, each from its key frame on, as it is.
func TestPipe(t *testing.T) {
	w := newLayerWorld(t)
	w.unmanaged = true
	require.Equal(t, SimulcastType, w.produce("video/VP8", Encoding{SSRC: 11}, Encoding{SSRC: 12}, Encoding{SSRC: 13}))
	r := w.consume(ConsumeOptions{Pipe: true}, Encoding{SSRC: 21}, Encoding{SSRC: 22, RTXSSRC: 32}, Encoding{SSRC: 23})
	require.Equal(t, ConsumeResult{
		Type: PipeType, Score: ConsumerScore{Score: 10, ProducerScore: 10, ProducerScores: []uint8{0, 0, 0}},
	}, r)

	w.media(12, 1000, true, deltaVP8...)
	require.Equal(t, []uint32{12}, w.takeRequested(), "a new stream is asked for a key frame")
	require.Empty(t, w.take(), "each stream waits for its key frame")
	w.media(11, 500, false, keyVP8...)
	w.media(11, 500, true, deltaVP8...)
	w.media(12, 1000, false, keyVP8...)
	w.media(13, 5, true, keyVP8...)
	sent := w.take()
	require.Len(t, sent, 4)
	for i, want := range []struct {
		ssrc, ts uint32
		marker   bool
	}{{21, 500, false}, {21, 500, true}, {22, 1000, false}, {23, 5, true}} {
		require.Equal(t, want.ssrc, sent[i].SSRC())
		require.Equal(t, want.ts, sent[i].Timestamp())
		require.Equal(t, want.marker, sent[i].Marker())
	}
	require.Equal(t, sent[0].SequenceNumber()+1, sent[1].SequenceNumber())
	require.Equal(t, keyVP8, []byte(sent[0].Payload()))

	// A packet without payload is left out, and leaves no gap.
	w.media(11, 500, false)
	w.media(11, 600, true, deltaVP8...)
	next := w.take()
	require.Len(t, next, 1)
	require.Equal(t, sent[1].SequenceNumber()+1, next[0].SequenceNumber())

	// A request is for all streams, and each repeats its own packets.
	w.advance(w.d.now + 3*time.Second)
	w.takeRequested()
	w.udp(w.sink, w.out, rtcp.AppendPLI(nil, 1, 22))
	require.Equal(t, []uint32{11, 12, 13}, w.takeRequested())
	w.take()
	w.udp(w.sink, w.out, rtcp.AppendNACK(nil, 1, 22, []uint16{sent[2].SequenceNumber()}))
	again := w.take()
	require.Len(t, again, 1)
	require.EqualValues(t, 32, again[0].SSRC())
	require.Equal(t, sent[2].SequenceNumber(), binary.BigEndian.Uint16(again[0].Payload()))
	w.udp(w.sink, w.out, rtcp.AppendNACK(nil, 1, 23, []uint16{sent[3].SequenceNumber()}))
	require.Equal(t, []rtp.Packet{sent[3]}, w.take(), "without RTX the same bytes")

	d, err := w.m.DumpConsumer("c")
	require.NoError(t, err)
	require.Equal(t, PipeType, d.Type)
	require.Len(t, d.Streams, 3)
	td, err := w.m.DumpTransport("out")
	require.NoError(t, err)
	require.Equal(t, []SSRCOwner{{21, "c"}, {22, "c"}, {23, "c"}}, td.SSRCConsumers)
	require.Equal(t, []SSRCOwner{{32, "c"}}, td.RTXSSRCConsumers)
	s, err := w.m.ConsumerStats("c")
	require.NoError(t, err)
	require.Len(t, s.Sent, 3)
	require.Nil(t, s.Received)
	for _, n := range w.notes {
		require.NotEqual(t, "c", n.Target, "a pipe tells of no score")
	}

	// Resuming begins each stream anew with a key frame.
	require.NoError(t, w.m.PauseConsumer("c"))
	w.media(13, 9, true, deltaVP8...)
	w.takeRequested()
	require.NoError(t, w.m.ResumeConsumer("c"))
	require.Equal(t, []uint32{11, 12, 13}, w.requestedWithin(2*time.Second))
	w.media(13, 10, true, deltaVP8...)
	require.Empty(t, w.take())
	w.media(13, 11, true, keyVP8...)
	last := w.take()
	require.Equal(t, sent[3].SequenceNumber()+1, last[0].SequenceNumber())
	require.NoError(t, w.m.CloseConsumer("c"))
	require.Empty(t, w.m.transports["out"].bySSRC)
}

// requestedWithin are the streams that were asked for a key frame in a while,
// each once.
func (w *layerWorld) requestedWithin(d time.Duration) []uint32 {
	w.advance(w.d.now + d)
	var once []uint32
	for _, ssrc := range w.takeRequested() {
		if len(once) == 0 || once[len(once)-1] != ssrc {
			once = append(once, ssrc)
		}
	}
	if len(once) > 3 {
		once = once[:3]
	}
	return once
}
