package acceptance

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var rtcpCases = []testCase{
	{
		name:        "RTCP/SenderReport",
		explanation: "a receiving endpoint gets sender reports of what was sent to it, with the CNAME of the Producer (RFC 3550 §6.4.1)",
		run:         testRTCPSenderReport,
	},
	{
		name:        "RTCP/CaptureTime",
		explanation: "when the sending endpoint's reports tell the time of capture, ours are about the same time, however late the media came",
		upstream:    []string{"3.25.0 reports"},
		run:         testRTCPCaptureTime,
	},
	{
		name:        "RTCP/ReceiverReport",
		explanation: "a sending endpoint gets receiver reports with its losses and with the time of its last sender report (RFC 3550 §6.4.2)",
		upstream:    []string{"3.19.8"},
		run:         testRTCPReceiverReport,
	},
	{
		name:        "RTCP/ReferenceTime",
		explanation: "a sending endpoint gets our reference time, and its answer gives the round trip time (RFC 3611 §4.4, §4.5)",
		run:         testRTCPReferenceTime,
	},
	{
		name:        "RTCP/DLRR",
		explanation: "the reference time of a receiving endpoint is answered (RFC 3611 §4.5)",
		run:         testRTCPDLRR,
	},
	{
		name:        "RTCP/RoundTripTime",
		explanation: "a receiver report gives the round trip time and the losses of a Consumer",
		upstream:    []string{"3.19.10"},
		run:         testRTCPRoundTripTime,
	},
	{
		name:        "RTCP/NotBeforeRTP",
		explanation: "there is no sender report about a stream that was never sent",
		run:         testRTCPNotBeforeRTP,
	},
	{
		name:        "RTCP/SeparatePort",
		explanation: "without RTCPMux RTCP goes from the RTCP port to the RTCP port",
		upstream:    []string{"PlainTransport 1", "PlainTransport 8"},
		run:         testRTCPSeparatePort,
	},
	{
		name:        "RTCP/Compound",
		explanation: "all packets of a compound are read; one that is unknown ends it",
		run:         testRTCPCompound,
	},
	{
		name:        "RTCP/ManyStreams",
		explanation: "reports about more than 31 streams are split, and none is missing",
		run:         testRTCPManyStreams,
	},
}

// senderReport makes a report that was sent now.
func senderReport(ssrc, packets, octets uint32) *rtcp.SenderReport {
	return &rtcp.SenderReport{
		SSRC: ssrc, NTPTime: ntpNow(), RTPTime: 123456, PacketCount: packets, OctetCount: octets,
	}
}

// ntpNow is the time in 1/2³² s since 1900.
func ntpNow() uint64 {
	now := time.Now()
	return uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
}

func ntpTime(v uint64) time.Time {
	return time.Unix(int64(v>>32)-2208988800, int64(v&(1<<32-1)*1e9>>32))
}

func ntpOf(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func testRTCPSenderReport(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	src := opusSource(1)
	for _, out := range []*end{r.webRTCEnd(t, overUDP(), peer.Config{}), r.plainEnd(t, mafalda.PlainTransportOptions{})} {
		c := out.consume(t, r, p)
		ssrc := c.RTPParameters().Encodings[0].SSRC
		var last *rtp.Packet
		octets := 0
		var sent, came time.Time // of the last packet
		for range 7 {
			sent = time.Now()
			in.sendRTP(t, src.packet([]byte("0123456789")))
			b := receive(t, out.rtp, "a packet")
			last = parseRTP(t, b)
			octets += len(b)
			came = time.Now()
		}
		for {
			b := receive(t, out.rtcp, "a sender report")
			packets := parseRTCP(t, b)
			sr, ok := packets[0].(*rtcp.SenderReport)
			if !ok || sr.SSRC != ssrc || sr.PacketCount < 7 {
				continue
			}
			require.Empty(t, sr.Reports)
			require.EqualValues(t, 7, sr.PacketCount)
			require.EqualValues(t, octets, sr.OctetCount)
			require.WithinDuration(t, time.Now(), ntpTime(sr.NTPTime), 5*time.Second)
			passed := int32(sr.RTPTime - last.Timestamp)
			require.GreaterOrEqual(t, passed, int32(0))
			slack := 0.05 + 2*float64(s.Pipes) // s: behind a pipe the clock is learnt from reports, which a stall delays
			at := ntpTime(sr.NTPTime)
			require.GreaterOrEqual(t, float64(passed)/48000, at.Sub(came).Seconds()-slack, "RTP time goes on with the clock")
			require.LessOrEqual(t, float64(passed)/48000, at.Sub(sent).Seconds()+slack, "RTP time goes on with the clock")
			var sdes *rtcp.SourceDescription
			for _, x := range packets {
				if d, ok := x.(*rtcp.SourceDescription); ok {
					sdes = d
				}
			}
			require.NotNil(t, sdes)
			require.Equal(t, []rtcp.SourceDescriptionChunk{{
				Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "the-cname"}},
			}}, sdes.Chunks)
			break
		}
	}
}

func testRTCPCaptureTime(t *testing.T, s *suite) {
	const late = 2 * time.Second
	r := s.room(t)
	in, out := r.plainEnd(t, mafalda.PlainTransportOptions{}), r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	c := out.consume(t, r, p)
	ssrc := c.RTPParameters().Encodings[0].SSRC
	began := time.Now()
	captured := func(at time.Time) uint32 { return 1<<20 + uint32(at.Sub(began).Milliseconds()*90) }
	src := vp8Source(1) // of video, which has a report each second, and so of each pipe
	var offset uint32   // between our timestamps and theirs
	eventually(t, "a report about the time of capture", func() bool {
		now := time.Now()
		in.sendRTCP(t, &rtcp.SenderReport{SSRC: 1, NTPTime: ntpOf(now), RTPTime: captured(now)})
		src.ts = captured(now.Add(-late))
		sent := src.packet(vp8Key("x"), marked)
		in.sendRTP(t, sent)
		offset = out.next(t, c).Timestamp - sent.Timestamp
		for len(out.rtcp) > 0 {
			for _, x := range parseRTCP(t, <-out.rtcp) {
				sr, ok := x.(*rtcp.SenderReport)
				if !ok || sr.SSRC != ssrc {
					continue
				}
				off := int32(sr.RTPTime-offset-captured(ntpTime(sr.NTPTime))) / 90 // ms
				if off > -1000 && off < 1000 {
					return true
				}
			}
		}
		return false
	})
}

func testRTCPReceiverReport(t *testing.T, s *suite) {
	r := s.room(t)
	for _, in := range []*end{r.webRTCEnd(t, overUDP(), peer.Config{}), r.plainEnd(t, mafalda.PlainTransportOptions{})} {
		p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
		src := opusSource(1)
		for i := range 20 {
			if i%4 == 3 {
				src.skip(1)
			}
			in.sendRTP(t, src.packet([]byte("x")))
		}
		lost := uint32(5)
		last := src.seq - 1
		sr := senderReport(1, 20, 2000)
		in.sendRTCP(t, sr)
		eventually(t, "the packets are counted", func() bool {
			stats, err := p.Stats(t.Context())
			return err == nil && len(stats) == 1 && stats[0].PacketCount == 20
		})
		report := rtcp.ReceptionReport{}
		rr := nextRTCP(t, in, func(rr *rtcp.ReceiverReport) bool {
			for _, b := range rr.Reports {
				if b.SSRC == 1 && b.LastSequenceNumber&0xffff == uint32(last) && b.LastSenderReport != 0 {
					report = b
					return true
				}
			}
			return false
		})
		require.Zero(t, rr.SSRC)
		require.Equal(t, lost, report.TotalLost)
		require.Equal(t, uint32(sr.NTPTime>>16), report.LastSenderReport)
		require.Less(t, time.Duration(report.Delay)*time.Second/65536, patience)
		stats, err := p.Stats(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, lost, stats[0].PacketsLost)
		require.NoError(t, in.transport.Close())
	}
}

// nextXR returns the next extended report block of type B that an end gets.
func nextXR[B rtcp.ReportBlock](t testing.TB, e *end) B {
	t.Helper()
	var found B
	nextRTCP(t, e, func(x *rtcp.ExtendedReport) bool {
		for _, b := range x.Reports {
			if v, ok := b.(B); ok {
				found = v
				return true
			}
		}
		return false
	})
	return found
}

func testRTCPReferenceTime(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	p := in.produce(t, mafalda.MediaKindAudio, audio("", 1))
	in.sendRTP(t, opusSource(1).packet([]byte("x")))
	ours := nextXR[*rtcp.ReceiverReferenceTimeReportBlock](t, in)
	require.WithinDuration(t, time.Now(), ntpTime(ours.NTPTimestamp), 5*time.Second)
	eventually(t, "50 ms pass on the way", elapsed(50*time.Millisecond))
	in.sendRTCP(t, &rtcp.ReceiverReport{SSRC: 1}, &rtcp.ExtendedReport{
		SenderSSRC: 1,
		Reports: []rtcp.ReportBlock{&rtcp.DLRRReportBlock{Reports: []rtcp.DLRRReport{
			{SSRC: 1, LastRR: uint32(ours.NTPTimestamp >> 16), DLRR: 1},
		}}},
	})
	var rtt float64
	eventually(t, "the round trip time", func() bool {
		stats, err := p.Stats(t.Context())
		if err != nil || len(stats) != 1 {
			return false
		}
		rtt = stats[0].RoundTripTime
		return rtt > 0
	})
	require.Greater(t, rtt, 45.0, "ms")
	require.Less(t, rtt, 10000.0)
}

func testRTCPDLRR(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	out := r.webRTCEnd(t, overUDP(), peer.Config{})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	ntp := ntpNow()
	out.sendRTCP(t, &rtcp.ReceiverReport{SSRC: 4321}, &rtcp.ExtendedReport{
		SenderSSRC: 4321, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: ntp}},
	})
	in.sendRTP(t, opusSource(1).packet([]byte("x")))
	out.next(t, c)
	answer := nextXR[*rtcp.DLRRReportBlock](t, out)
	require.NotEmpty(t, answer.Reports)
	require.Equal(t, c.RTPParameters().Encodings[0].SSRC, answer.Reports[0].SSRC)
	require.Equal(t, uint32(ntp>>16), answer.Reports[0].LastRR)
}

func testRTCPRoundTripTime(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.directEnd(t)
	out := r.webRTCEnd(t, overUDP(), peer.Config{})
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindVideo, video("", 1)))
	src := vp8Source(1)
	var last *rtp.Packet
	for range 10 {
		in.sendRTP(t, src.packet(vp8Key("x"), marked))
		last = out.next(t, c)
	}
	sr := nextRTCP[*rtcp.SenderReport](t, out, nil)
	eventually(t, "50 ms pass on the way", elapsed(50*time.Millisecond))
	out.sendRTCP(t, &rtcp.ReceiverReport{SSRC: 4321, Reports: []rtcp.ReceptionReport{{
		SSRC: sr.SSRC, FractionLost: 51, TotalLost: 2, LastSequenceNumber: uint32(last.SequenceNumber), Jitter: 77,
		LastSenderReport: uint32(sr.NTPTime >> 16), Delay: 1,
	}}})
	var stats []mafalda.RTPStreamStats
	eventually(t, "the round trip time", func() bool {
		var err error
		stats, err = c.Stats(t.Context())
		return err == nil && len(stats) > 0 && stats[0].RoundTripTime > 0
	})
	require.Greater(t, stats[0].RoundTripTime, 45.0, "ms")
	require.EqualValues(t, 2, stats[0].PacketsLost)
	require.EqualValues(t, 51, stats[0].FractionLost)
	require.EqualValues(t, 77, stats[0].Jitter)
}

func testRTCPNotBeforeRTP(t *testing.T, s *suite) {
	r := s.room(t)
	in, out := r.directEnd(t), r.plainEnd(t, mafalda.PlainTransportOptions{})
	silent := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 1)))
	c := out.consume(t, r, in.produce(t, mafalda.MediaKindAudio, audio("", 2)))
	in.sendRTP(t, opusSource(2).packet([]byte("x")))
	out.next(t, c)
	ssrc := nextRTCP[*rtcp.SenderReport](t, out, nil).SSRC
	require.Equal(t, c.RTPParameters().Encodings[0].SSRC, ssrc)
	require.NotEqual(t, silent.RTPParameters().Encodings[0].SSRC, ssrc)
}

func testRTCPSeparatePort(t *testing.T, s *suite) {
	r := s.room(t)
	for _, srtp := range []bool{false, true} {
		in := r.directEnd(t)
		out := r.plainEnd(t, mafalda.PlainTransportOptions{RTCPMux: new(false), EnableSRTP: srtp})
		p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
		c := out.consume(t, r, p)
		in.sendRTP(t, vp8Source(1).packet(vp8Key("x"), marked))
		out.next(t, c)
		drain(in.rtcp)
		out.sendRTCP(t, &rtcp.PictureLossIndication{MediaSSRC: c.RTPParameters().Encodings[0].SSRC})
		nextPLI(t, in, 1)
		nextRTCP[*rtcp.SenderReport](t, out, nil)
	}
}

func testRTCPCompound(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.plainEnd(t, mafalda.PlainTransportOptions{})
	p := in.produce(t, mafalda.MediaKindVideo, video("", 1))
	require.NoError(t, p.EnableTraceEvent(t.Context(), mafalda.TraceSR))
	traces := hear(t, &p.Events().Trace)
	in.sendRTP(t, vp8Source(1).packet(vp8Key("x"), marked))
	sdes := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}},
	}}}
	in.sendRTCP(t, &rtcp.ReceiverReport{SSRC: 1}, sdes, senderReport(1, 7, 700), &rtcp.Goodbye{Sources: []uint32{1}})
	require.EqualValues(t, 7, receive(t, traces, "the sender report").Info.(mafalda.SenderReportTraceInfo).PacketCount)
	unknown := []byte{0x80, 195, 0, 1, 0, 0, 0, 1}
	require.NoError(t, in.writeRTCP(append(unknown, marshalRTCP(t, senderReport(1, 8, 800))...)))
	require.NoError(t, in.writeRTCP(append(marshalRTCP(t, senderReport(1, 9, 900)), 0x80, 200, 0, 99)))
	require.EqualValues(t, 9, receive(t, traces, "the next sender report").Info.(mafalda.SenderReportTraceInfo).PacketCount)
}

func testRTCPManyStreams(t *testing.T, s *suite) {
	r := s.room(t)
	in := r.webRTCEnd(t, overUDP(), peer.Config{})
	const n = 40
	want := map[uint32]bool{}
	for i := range n {
		ssrc := uint32(1000 + i)
		in.produce(t, mafalda.MediaKindAudio, audio("m"+string(rune('0'+i)), ssrc))
		in.sendRTP(t, opusSource(ssrc).packet([]byte("x")))
		want[ssrc] = true
	}
	for len(want) > 0 {
		for _, p := range parseRTCP(t, receive(t, in.rtcp, "receiver reports of all streams")) {
			if rr, ok := p.(*rtcp.ReceiverReport); ok {
				require.LessOrEqual(t, len(rr.Reports), 31)
				for _, b := range rr.Reports {
					delete(want, b.SSRC)
				}
			}
		}
	}
}
