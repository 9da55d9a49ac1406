package acceptance

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var feedbackCases = []testCase{
	{
		name:        "Feedback/TransportCC",
		explanation: "with transport-cc the endpoint is told about every packet, received or not, every 100 ms (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1)",
		upstream:    []string{"3.15.4 feedback"},
		run:         testFeedbackTransportCC,
	},
	{
		name:        "Feedback/TransportCCNotNegotiated",
		explanation: "without the header extension or the feedback there is none",
		run:         testFeedbackTransportCCNotNegotiated,
	},
	{
		name:        "Feedback/MaxIncomingBitrate",
		explanation: "SetMaxIncomingBitrate is told by REMB as soon as media comes, again while it does, and 0 lifts it",
		upstream:    []string{"WebRtcTransport 10"},
		run:         testFeedbackMaxIncomingBitrate,
	},
	{
		name:        "Feedback/REMB",
		explanation: "an endpoint that knows no transport-cc but says when it sent each packet is told by REMB what it may send, no more than the limit; the stats have the estimate",
		run:         testFeedbackREMB,
	},
}

// congested are parameters with transport-cc.
func congested(ssrc uint32) mafalda.RTPParameters {
	p := video("", ssrc)
	p.Codecs[0].RTCPFeedback = append(p.Codecs[0].RTCPFeedback, mafalda.RTCPFeedback{Type: "transport-cc"})
	p.HeaderExtensions = append(p.HeaderExtensions,
		mafalda.RTPHeaderExtensionParameters{URI: mafalda.RTPHeaderExtensionTransportWideCC, ID: 3})
	return p
}

func wide(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }

// statuses returns whether each packet of a report was received.
func statuses(t testing.TB, f *rtcp.TransportLayerCC) map[uint16]bool {
	t.Helper()
	got := map[uint16]bool{}
	seq := f.BaseSequenceNumber
	add := func(symbol uint16) {
		if int(f.PacketStatusCount) > len(got) {
			got[seq] = symbol != rtcp.TypeTCCPacketNotReceived
			seq++
		}
	}
	for _, chunk := range f.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				add(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				add(symbol)
			}
		}
	}
	require.Len(t, got, int(f.PacketStatusCount))
	return got
}

func testFeedbackTransportCC(t *testing.T, s *suite) {
	r := s.room(t)
	for _, in := range []*end{r.webRTCEnd(t, overUDP(), peer.Config{}), r.plainEnd(t, mafalda.PlainTransportOptions{})} {
		in.produce(t, mafalda.MediaKindVideo, congested(1))
		src := vp8Source(1)
		want := map[uint16]bool{}
		for i := range 30 {
			n := uint16(65525 + i)
			want[n] = i%7 != 3
			if want[n] {
				in.sendRTP(t, src.packet(vp8Key("x"), extended(t, 3, wide(n))))
			} else {
				src.skip(1)
			}
		}
		got := map[uint16]bool{}
		count := -1
		for len(got) < len(want) {
			f := nextRTCP[*rtcp.TransportLayerCC](t, in, nil)
			require.Zero(t, f.SenderSSRC)
			if count >= 0 {
				require.Equal(t, uint8(count+1), f.FbPktCount, "feedback is numbered")
				require.Equal(t, uint32(1), f.MediaSSRC)
			}
			count = int(f.FbPktCount)
			for n, ok := range statuses(t, f) {
				got[n] = got[n] || ok
			}
		}
		require.Equal(t, want, got)
		stats := transportStats(t, in.transport)
		require.NotNil(t, stats.RTPPacketLossReceived)
		require.NotNil(t, stats.AvailableIncomingBitrate)
		require.InDelta(t, 4.0/30, *stats.RTPPacketLossReceived, 0.1)
	}
}

func testFeedbackTransportCCNotNegotiated(t *testing.T, s *suite) {
	r := s.room(t)
	noExtension, noFeedback := congested(1), congested(1)
	noExtension.HeaderExtensions = noExtension.HeaderExtensions[:3]
	noFeedback.Codecs[0].RTCPFeedback = noFeedback.Codecs[0].RTCPFeedback[:3]
	with := r.plainEnd(t, mafalda.PlainTransportOptions{})
	ends := []*end{r.plainEnd(t, mafalda.PlainTransportOptions{}), r.plainEnd(t, mafalda.PlainTransportOptions{}), with}
	for i, given := range []mafalda.RTPParameters{noExtension, noFeedback, congested(1)} {
		ends[i].produce(t, mafalda.MediaKindVideo, given)
		ends[i].sendRTP(t, vp8Source(1).packet(vp8Key("x"), extended(t, 3, wide(1))))
	}
	nextRTCP[*rtcp.TransportLayerCC](t, with, nil)
	for _, e := range ends[:2] {
		nextRTCP[*rtcp.ReceiverReport](t, e, func(*rtcp.ReceiverReport) bool { return true })
		for len(e.rtcp) > 0 {
			for _, p := range parseRTCP(t, <-e.rtcp) {
				require.IsNotType(t, &rtcp.TransportLayerCC{}, p)
			}
		}
		require.Nil(t, transportStats(t, e.transport).RTPPacketLossReceived)
	}
}

func testFeedbackMaxIncomingBitrate(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	in.produce(t, mafalda.MediaKindVideo, congested(1))
	src := vp8Source(1)
	n := uint16(1)
	send := func() {
		t.Helper()
		in.sendRTP(t, src.packet(vp8Key("x"), extended(t, 3, wide(n))))
		n++
	}
	send()
	for _, limit := range []int{1_000_000, 300_000, 0} {
		require.NoError(t, in.transport.SetMaxIncomingBitrate(t.Context(), limit))
		send()
		require.Equal(t, limit, nextREMB(t, in))
		require.Equal(t, limit, transportStats(t, in.transport).MaxIncomingBitrate)
		if limit == 1_000_000 {
			continue
		}
		eventually(t, "it is said again while media comes", func() bool {
			send()
			for len(in.rtcp) > 0 {
				if v, ok := remb(<-in.rtcp); ok {
					require.Equal(t, limit, v)
					return true
				}
			}
			return false
		})
	}
}

func testFeedbackREMB(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	given := video("", 1)
	given.Codecs[0].RTCPFeedback = append(given.Codecs[0].RTCPFeedback, mafalda.RTCPFeedback{Type: "goog-remb"})
	in.produce(t, mafalda.MediaKindVideo, given)
	require.Equal(t, new(0), transportStats(t, in.transport).AvailableIncomingBitrate)
	src := vp8Source(1)
	began := time.Now()
	told := func(what string, cond func(bitrate int) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			stamp := uint64(time.Since(began)) << 18 / uint64(time.Second) // 6 bits of seconds before the point, 18 after it
			in.sendRTP(t, src.packet(make([]byte, 400), extended(t, 11, []byte{byte(stamp >> 16), byte(stamp >> 8), byte(stamp)})))
			for len(in.rtcp) > 0 {
				if v, ok := remb(<-in.rtcp); ok && cond(v) {
					return true
				}
			}
			return false
		})
	}
	told("an estimate", func(bitrate int) bool { return bitrate > 0 })
	require.Positive(t, *transportStats(t, in.transport).AvailableIncomingBitrate)
	require.NoError(t, in.transport.SetMaxIncomingBitrate(t.Context(), 5_000))
	told("the limit", func(bitrate int) bool { return bitrate == 5_000 })
	require.NoError(t, in.transport.SetMaxIncomingBitrate(t.Context(), 0))
	told("the estimate again", func(bitrate int) bool { return bitrate > 5_000 })
}

// remb returns the bitrate of a REMB (draft-alvestrand-rmcat-remb-03 §2.2);
// pion does not read a bitrate of 0.
func remb(b []byte) (bitrate int, ok bool) {
	if len(b) < 20 || b[0]&0x1f != 15 || b[1] != 206 || string(b[12:16]) != "REMB" {
		return 0, false
	}
	return (int(b[17]&3)<<16 | int(b[18])<<8 | int(b[19])) << (b[17] >> 2), true
}

// nextREMB returns the bitrate of the next REMB.
func nextREMB(t testing.TB, e *end) int {
	t.Helper()
	for {
		if v, ok := remb(receive(t, e.rtcp, "a REMB")); ok {
			return v
		}
	}
}
