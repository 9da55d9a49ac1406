package rtcp

import (
	"bytes"
	"testing"

	pion "github.com/pion/rtcp"
)

// FuzzReader reads anything, calls every view, and compares what it finds with
// pion/rtcp where both have a packet of the same bytes.
func FuzzReader(f *testing.F) {
	all := sample(f)
	f.Add(all)
	for _, p := range read(all) {
		f.Add([]byte(p))
	}
	f.Add([]byte{0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		r := NewReader(b)
		for {
			rest := r.rest
			p, ok := r.Next()
			if !ok {
				if _, again := r.Next(); again {
					t.Fatal("a Reader that ended went on")
				}
				break
			}
			views(p)
			for _, typ := range []byte{TypeSR, TypeRR, TypeSDES, TypeRTPFB, TypePSFB, TypeXR} {
				if typ != p.Type() && len(seen(p, typ)) != 0 {
					t.Fatalf("packet of type %d has a view of %d", p.Type(), typ)
				}
			}
			whole := rest[:len(rest)-len(r.rest)]
			if len(whole) == len(p) { // pion takes padding for content
				differential(t, whole, p)
			}
		}
		if !bytes.Equal(before, b) {
			t.Fatal("reading changed the bytes")
		}
	})
}

// seen returns the bytes that the views of packets of one type see.
func seen(p Packet, typ uint8) []byte {
	switch typ {
	case TypeSDES:
		return p.Sources().rest
	case TypeRTPFB:
		if f, ok := p.TransportCC(); ok {
			return f
		}
		return p.NACKs()
	case TypePSFB:
		return p.FIRs()
	case TypeXR:
		return p.XRBlocks().rest
	}
	return nil
}

func differential(t *testing.T, b []byte, p Packet) {
	packets, err := pion.Unmarshal(b)
	if err != nil || len(packets) != 1 {
		return
	}
	equal := func(what string, theirs, ours uint64) {
		if theirs != ours {
			t.Fatalf("%s of %x = %d, want %d", what, b, ours, theirs)
		}
	}
	blocks := func(theirs []pion.ReceptionReport) {
		ours := p.ReportBlocks()
		equal("blocks", uint64(len(theirs)), uint64(ours.Len()))
		for i, r := range theirs {
			o := ours.At(i)
			equal("SSRC", uint64(r.SSRC), uint64(o.SSRC))
			equal("fraction", uint64(r.FractionLost), uint64(o.FractionLost))
			equal("lost", uint64(r.TotalLost), uint64(o.CumulativeLost)&0xffffff)
			equal("highest", uint64(r.LastSequenceNumber), uint64(o.HighestSeq))
			equal("jitter", uint64(r.Jitter), uint64(o.Jitter))
			equal("LSR", uint64(r.LastSenderReport), uint64(o.LSR))
			equal("DLSR", uint64(r.Delay), uint64(o.DLSR))
		}
	}
	switch their := packets[0].(type) {
	case *pion.SenderReport:
		ours, ok := p.SenderReport()
		if !ok {
			t.Fatal("no sender report")
		}
		equal("NTP", their.NTPTime, ours.NTP)
		equal("RTP time", uint64(their.RTPTime), uint64(ours.RTPTimestamp))
		equal("octets", uint64(their.OctetCount), uint64(ours.OctetCount))
		blocks(their.Reports)
	case *pion.ReceiverReport:
		blocks(their.Reports)
	case *pion.TransportLayerNack:
		equal("sender", uint64(their.SenderSSRC), uint64(p.SSRC()))
		equal("media", uint64(their.MediaSSRC), uint64(p.MediaSSRC()))
		equal("entries", uint64(len(their.Nacks)), uint64(p.NACKs().Len()))
		for i, n := range their.Nacks {
			pid, blp := p.NACKs().At(i)
			equal("PID", uint64(n.PacketID), uint64(pid))
			equal("BLP", uint64(n.LostPackets), uint64(blp))
		}
	case *pion.FullIntraRequest:
		equal("entries", uint64(len(their.FIR)), uint64(p.FIRs().Len()))
		for i, e := range their.FIR {
			ssrc, seq := p.FIRs().At(i)
			equal("SSRC", uint64(e.SSRC), uint64(ssrc))
			equal("seq", uint64(e.SequenceNumber), uint64(seq))
		}
	case *pion.ReceiverEstimatedMaximumBitrate:
		ours, ok := p.REMB()
		if !ok {
			t.Fatal("no REMB")
		}
		if their.Bitrate < 1<<63 && ours.Bitrate != 0 { // pion makes a number of a mantissa of 0
			equal("bitrate", uint64(their.Bitrate), ours.Bitrate)
		}
		equal("SSRCs", uint64(len(their.SSRCs)), uint64(ours.SSRCs.Len()))
		for i, s := range their.SSRCs {
			equal("SSRC", uint64(s), uint64(ours.SSRCs.At(i)))
		}
	case *pion.TransportLayerCC:
		ours, ok := p.TransportCC()
		if !ok {
			t.Fatal("no feedback")
		}
		equal("base", uint64(their.BaseSequenceNumber), uint64(ours.BaseSeq()))
		equal("count", uint64(their.PacketStatusCount), uint64(ours.Count()))
		equal("reference", uint64(their.ReferenceTime), uint64(ours.ReferenceTime())&0xffffff)
		i := 0
		statuses := ours.Statuses()
		for s, ok := statuses.Next(); ok; s, ok = statuses.Next() {
			if !s.Received {
				continue
			}
			if i == len(their.RecvDeltas) {
				t.Fatalf("more than %d received", i)
			}
			equal("delta", uint64(their.RecvDeltas[i].Delta), uint64(int64(s.Delta)))
			i++
		}
		equal("received", uint64(len(their.RecvDeltas)), uint64(i))
	}
}
