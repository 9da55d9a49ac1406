package engine

import (
	"encoding/binary"
	"log/slog"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// receiveRTCP takes a decrypted compound (media-plane §5.5).
func (t *transport) receiveRTCP(b []byte) {
	t.m.compounds++
	if t.m.taps != nil {
		t.tapped(t.rtcpPath(), false, b, nil)
	}
	r := rtcp.NewReader(b)
	read := false
	for {
		p, ok := r.Next()
		if !ok {
			break
		}
		read = true
		t.receiveReport(p)
	}
	if !read {
		t.m.count.DropMalformed++
		if n, ok := t.m.may(t.m.logs.rtcp, slog.LevelWarn, causeMalformedRTCP); ok {
			t.m.logs.rtcp.Warn("RTCP dropped", "transport", t.id, "bytes", len(b), "why", "malformed", "skipped", n)
		}
	}
}

func (t *transport) receiveReport(p rtcp.Packet) {
	switch p.Type() {
	case rtcp.TypeSR:
		if sr, ok := p.SenderReport(); ok {
			t.receiveSenderReport(sr)
		}
		t.receiveBlocks(p.ReportBlocks())
	case rtcp.TypeRR:
		t.receiveBlocks(p.ReportBlocks())
	case rtcp.TypeRTPFB:
		if f, ok := p.TransportCC(); ok && t.bandwidth != nil {
			t.bandwidth.receiveFeedback(f)
		}
		if p.Format() != rtcp.FormatNACK {
			return
		}
		o := t.bySSRC[p.MediaSSRC()]
		if o == nil {
			return
		}
		o.send.CountNACK()
		if o.c.trace.nack {
			t.m.trace(o.c.id, TraceEvent{Type: "nack", Direction: "in"})
		}
		nacks := p.NACKs()
		if n, ok := t.m.may(t.m.logs.rtx, slog.LevelDebug, causeNACKIn); ok {
			t.m.logs.rtx.Debug("NACK received", "consumer", o.c.id, "ssrc", o.ssrc, "items", nacks.Len(), "skipped", n)
		}
		for i := range nacks.Len() {
			o.receiveNACK(nacks.At(i))
		}
	case rtcp.TypePSFB:
		switch p.Format() {
		case rtcp.FormatAFB:
			if r, ok := p.REMB(); ok && t.bandwidth != nil {
				t.bandwidth.receiveREMB(r.Bitrate)
			}
		case rtcp.FormatPLI:
			if o := t.bySSRC[p.MediaSSRC()]; o != nil {
				o.receiveKeyFrameRequest(false)
			}
		case rtcp.FormatFIR:
			firs := p.FIRs()
			for i := range firs.Len() {
				ssrc, _ := firs.At(i)
				if o := t.bySSRC[ssrc]; o != nil {
					o.receiveKeyFrameRequest(true)
				}
			}
		}
	case rtcp.TypeXR:
		t.receiveXR(p)
	}
}

func (t *transport) receiveBlocks(blocks rtcp.ReportBlocks) {
	if blocks.Len() == 0 {
		return
	}
	now := rtcp.CompactNTP(t.m.ntp())
	for i := range blocks.Len() {
		b := blocks.At(i)
		if o := t.bySSRC[b.SSRC]; o != nil {
			if b.FractionLost > 0 {
				if n, ok := t.m.may(t.m.logs.rtcp, slog.LevelDebug, causeLoss); ok {
					t.m.logs.rtcp.Debug("the peer reports loss", "consumer", o.c.id, "ssrc", b.SSRC, "of256", b.FractionLost,
						"ever", b.CumulativeLost, "skipped", n)
				}
			}
			o.receiveReport(b, now)
			if t.bandwidth != nil {
				t.bandwidth.receiveReport(o, b)
			}
		}
	}
}

func (t *transport) receiveSenderReport(sr rtcp.SenderReport) {
	p := t.listener.bySSRC(sr.SSRC)
	if p == nil {
		return
	}
	for _, s := range p.streams {
		switch sr.SSRC {
		case s.ssrc:
			s.recv.SenderReport(t.m.now, sr.NTP, sr.RTPTimestamp)
			if p.trace.sr {
				t.m.trace(p.id, TraceEvent{Type: "sr", Direction: "in", SSRC: sr.SSRC, SR: &SenderReport{
					SSRC: sr.SSRC, NTPSeconds: uint32(sr.NTP >> 32), NTPFraction: uint32(sr.NTP),
					RTPTimestamp: sr.RTPTimestamp, PacketCount: sr.PacketCount, OctetCount: sr.OctetCount,
				}})
			}
			s.after()
			s.senderReport(sr)
			return
		case s.rtx:
			s.recv.RTXSenderReport(t.m.now, sr.NTP, sr.RTPTimestamp)
			return
		}
	}
}

func (t *transport) receiveXR(p rtcp.Packet) {
	blocks := p.XRBlocks()
	for {
		b, ok := blocks.Next()
		if !ok {
			return
		}
		if ntp, ok := b.ReferenceTime(); ok {
			t.reference.Set(t.m.now, ntp)
			continue
		}
		now := rtcp.CompactNTP(t.m.ntp())
		delays := b.DLRRs()
		for i := range delays.Len() {
			d := delays.At(i)
			ssrc := d.SSRC
			if ssrc == 0 { // some clients name themselves only once
				ssrc = p.SSRC()
			}
			t.receiveDelay(ssrc, now, d)
		}
	}
}

func (t *transport) receiveDelay(ssrc, now uint32, d rtcp.DLRREntry) {
	p := t.listener.bySSRC(ssrc)
	if p == nil {
		return
	}
	for _, s := range p.streams {
		if s.ssrc == ssrc {
			s.recv.DelaySinceLastRR(now, d.LRR, d.DLRR)
		}
	}
}

// dumpPacket describes a packet for a trace event; ids are those of its
// header extensions.
func dumpPacket(pkt rtp.Packet, ids *extensionIDs, info *codec.Info) *PacketDump {
	text := func(id uint8) string {
		if id == 0 {
			return ""
		}
		return string(pkt.Extension(id))
	}
	d := &PacketDump{
		PayloadType: pkt.PayloadType(), SequenceNumber: pkt.SequenceNumber(), Timestamp: pkt.Timestamp(),
		SSRC: pkt.SSRC(), Marker: pkt.Marker(), KeyFrame: info.KeyFrame,
		Size: len(pkt), PayloadSize: len(pkt.Payload()),
		SpatialLayer: info.SpatialLayer, TemporalLayer: info.TemporalLayer,
		MID: text(ids.mid), RID: text(ids.rid), RRID: text(ids.rrid),
	}
	if ids.twcc != 0 {
		if v := pkt.Extension(ids.twcc); len(v) == 2 {
			d.WideSequenceNumber, d.HasWideSequenceNumber = binary.BigEndian.Uint16(v), true
		}
	}
	return d
}
