package rtcp

import (
	"math/rand/v2"
	"slices"
	"testing"

	pion "github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

func TestNACK(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		seqs    []uint16
		entries [][2]uint16
	}{
		"one":          {[]uint16{7}, [][2]uint16{{7, 0}}},
		"neighbours":   {[]uint16{7, 8, 10}, [][2]uint16{{7, 0b101}}},
		"sixteenth":    {[]uint16{7, 23}, [][2]uint16{{7, 1 << 15}}},
		"seventeenth":  {[]uint16{7, 24}, [][2]uint16{{7, 0}, {24, 0}}},
		"around zero":  {[]uint16{65534, 65535, 0, 1}, [][2]uint16{{65534, 0b111}}},
		"not in order": {[]uint16{9, 7}, [][2]uint16{{9, 0}, {7, 0}}},
	} {
		b := AppendNACK(nil, 1, 2, c.seqs)
		p := one(t, b)
		f, ok := p.Feedback()
		require.True(t, ok, name)
		require.Equal(t, Feedback{1, 2}, f, name)
		var got [][2]uint16
		for i := range p.NACKs().Len() {
			pid, blp := p.NACKs().At(i)
			got = append(got, [2]uint16{pid, blp})
		}
		require.Equal(t, c.entries, got, name)
		require.Equal(t, c.seqs, appendSeqs(nil, p.NACKs()), name)

		their := parse(t, b)[0].(*pion.TransportLayerNack)
		var seqs []uint16
		for i := range their.Nacks {
			seqs = append(seqs, their.Nacks[i].PacketList()...)
		}
		require.Equal(t, c.seqs, seqs, name)
	}
	require.Empty(t, AppendNACK(nil, 1, 2, nil))
}

// appendSeqs appends all sequence numbers asked for, in the order of the packet.
func appendSeqs(dst []uint16, n NACKs) []uint16 {
	for i := range n.Len() {
		pid, blp := n.At(i)
		dst = append(dst, pid)
		for k := range uint16(16) {
			if blp&(1<<k) != 0 {
				dst = append(dst, pid+1+k)
			}
		}
	}
	return dst
}

func TestNACKMany(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var seqs []uint16
		seq := uint16(rnd.Uint32())
		for range rnd.IntN(1000) {
			seq += uint16(1 + rnd.IntN(30))
			seqs = append(seqs, seq)
		}
		got := []uint16(nil)
		for _, p := range read(AppendNACK(nil, 1, 2, seqs)) {
			got = appendSeqs(got, p.NACKs())
		}
		require.Equal(t, seqs, got)
	}

	// More entries than one packet can have: all numbers, in descending order.
	var seqs, got []uint16
	for i := range 1 << 16 {
		seqs = append(seqs, uint16(-i))
	}
	for _, p := range read(AppendNACK(nil, 1, 2, seqs)) {
		got = appendSeqs(got, p.NACKs())
	}
	require.Equal(t, seqs, got)
}

func TestKeyFrameRequests(t *testing.T) {
	t.Parallel()
	pli := theirs(t, &pion.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2})
	require.Equal(t, pli, AppendPLI(nil, 1, 2))
	require.True(t, one(t, pli).IsPLI())
	require.Zero(t, one(t, pli).FIRs().Len())

	fir := theirs(t, &pion.FullIntraRequest{SenderSSRC: 1, MediaSSRC: 2, FIR: []pion.FIREntry{{SSRC: 3, SequenceNumber: 4}}})
	require.Equal(t, fir, AppendFIR(nil, 1, 2, 3, 4))
	p := one(t, theirs(t, &pion.FullIntraRequest{FIR: []pion.FIREntry{{SSRC: 3, SequenceNumber: 4}, {SSRC: 5, SequenceNumber: 6}}}))
	require.False(t, p.IsPLI())
	require.Equal(t, 2, p.FIRs().Len())
	ssrc, seq := p.FIRs().At(1)
	require.EqualValues(t, 5, ssrc)
	require.EqualValues(t, 6, seq)
}

func TestREMB(t *testing.T) {
	t.Parallel()
	for _, bitrate := range []uint64{0, 1, 262_143, 262_144, 500_000, 8_927_168, 1 << 40, 1<<63 - 1, 1<<64 - 1} {
		for _, ssrcs := range [][]uint32{nil, {1}, {1, 2, 0xffffffff}} {
			b := AppendREMB(nil, 7, 0, bitrate, ssrcs)
			require.Equal(t, theirs(t, &pion.ReceiverEstimatedMaximumBitrate{SenderSSRC: 7, Bitrate: truncated(bitrate), SSRCs: ssrcs}), b)
			r, ok := one(t, b).REMB()
			require.True(t, ok)
			require.Equal(t, uint64(truncated(bitrate)), r.Bitrate)
			require.LessOrEqual(t, bitrate-r.Bitrate, bitrate>>17)
			var got []uint32
			for i := range r.SSRCs.Len() {
				got = append(got, r.SSRCs.At(i))
			}
			require.Equal(t, ssrcs, got)
		}
	}
	many := make([]uint32, 300)
	r, ok := one(t, AppendREMB(nil, 0, 0, 1, many)).REMB()
	require.True(t, ok)
	require.Equal(t, 255, r.SSRCs.Len())

	_, ok = one(t, unhex(t, "8fce0004"+"00000001"+"00000000"+"52454d43"+"0003ffff")).REMB()
	require.False(t, ok, "other application layer feedback")
}

// truncated keeps the upper 18 bits, so that a float32 can hold the rest.
func truncated(v uint64) float32 {
	for i := range 64 {
		if v>>i < 1<<18 {
			return float32(v >> i << i)
		}
	}
	return 0
}

func exampleTCC() *pion.TransportLayerCC {
	return &pion.TransportLayerCC{
		Header:     pion.Header{Padding: true, Count: pion.FormatTCC, Type: pion.TypeTransportSpecificFeedback, Length: 9},
		SenderSSRC: 1, MediaSSRC: 2, BaseSequenceNumber: 65533, PacketStatusCount: 24, ReferenceTime: 0xfffffe, FbPktCount: 23,
		PacketChunks: []pion.PacketStatusChunk{
			&pion.RunLengthChunk{Type: pion.TypeTCCRunLengthChunk, PacketStatusSymbol: pion.TypeTCCPacketReceivedSmallDelta, RunLength: 2},
			&pion.RunLengthChunk{Type: pion.TypeTCCRunLengthChunk, PacketStatusSymbol: pion.TypeTCCPacketNotReceived, RunLength: 9},
			&pion.StatusVectorChunk{Type: pion.TypeTCCStatusVectorChunk, SymbolSize: pion.TypeTCCSymbolSizeTwoBit, SymbolList: []uint16{1, 2, 0, 2, 3, 0, 1}},
			&pion.StatusVectorChunk{Type: pion.TypeTCCStatusVectorChunk, SymbolSize: pion.TypeTCCSymbolSizeOneBit, SymbolList: []uint16{1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		},
		RecvDeltas: []*pion.RecvDelta{
			{Type: 1, Delta: 250}, {Type: 1, Delta: 255 * 250},
			{Type: 1, Delta: 0}, {Type: 2, Delta: -250}, {Type: 2, Delta: 32767 * 250}, {Type: 1, Delta: 500},
			{Type: 1, Delta: 750}, {Type: 1, Delta: 1000}, {Type: 1, Delta: 1250},
		},
	}
}

func TestTransportCC(t *testing.T) {
	t.Parallel()
	b := theirs(t, exampleTCC())
	p := one(t, b)
	require.EqualValues(t, 2, p.MediaSSRC())
	f, ok := p.TransportCC()
	require.True(t, ok)
	require.EqualValues(t, 65533, f.BaseSeq())
	require.Equal(t, 24, f.Count())
	require.EqualValues(t, -2, f.ReferenceTime())
	require.EqualValues(t, 23, f.FeedbackCount())

	received := map[int]int32{
		0: 250, 1: 255 * 250,
		11: 0, 12: -250, 14: 32767 * 250, 17: 500,
		18: 750, 21: 1000, 23: 1250,
	}
	var want []PacketStatus
	for i := range 24 {
		delta, ok := received[i]
		want = append(want, PacketStatus{Seq: 65533 + uint16(i), Received: ok, Delta: delta})
	}
	statuses := f.Statuses()
	var got []PacketStatus
	for s, ok := statuses.Next(); ok; s, ok = statuses.Next() {
		got = append(got, s)
	}
	require.Equal(t, want, got)
}

// TestTransportCCRandom compares random feedback with what pion reads from it.
func TestTransportCCRandom(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		f := exampleTCC()
		f.PacketChunks, f.RecvDeltas = nil, nil
		var symbols []uint16
		for range 1 + rnd.IntN(6) {
			switch rnd.IntN(3) {
			case 0:
				c := &pion.RunLengthChunk{PacketStatusSymbol: uint16(rnd.IntN(3)), RunLength: uint16(rnd.IntN(50))}
				symbols = append(symbols, slices.Repeat([]uint16{c.PacketStatusSymbol}, int(c.RunLength))...)
				f.PacketChunks = append(f.PacketChunks, c)
			default:
				size := rnd.IntN(2)
				list := make([]uint16, 14>>size)
				for i := range list {
					list[i] = uint16(rnd.IntN(2 + size))
				}
				symbols = append(symbols, list...)
				f.PacketChunks = append(f.PacketChunks, &pion.StatusVectorChunk{SymbolSize: uint16(size), SymbolList: list})
			}
		}
		symbols = append(symbols, 1)
		f.PacketChunks = append(f.PacketChunks, &pion.StatusVectorChunk{SymbolList: []uint16{1}})
		f.PacketStatusCount = uint16(len(symbols))
		var want []PacketStatus
		for i, s := range symbols {
			st := PacketStatus{Seq: f.BaseSequenceNumber + uint16(i), Received: s != 0}
			if s != 0 {
				st.Delta = 250 * int32(int8(rnd.Uint32()))
				if s == 1 {
					st.Delta = 250 * int32(rnd.IntN(256))
				}
				f.RecvDeltas = append(f.RecvDeltas, &pion.RecvDelta{Type: s, Delta: int64(st.Delta)})
			}
			want = append(want, st)
		}
		f.Header.Padding = f.MarshalSize() != 20+2*len(f.PacketChunks)+deltaBytes(f)
		f.Header.Length = uint16(f.MarshalSize()/4 - 1)
		b := theirs(t, f)
		ours, ok := one(t, b).TransportCC()
		require.True(t, ok)
		var got []PacketStatus
		statuses := ours.Statuses()
		for s, ok := statuses.Next(); ok; s, ok = statuses.Next() {
			got = append(got, s)
		}
		require.Equal(t, want, got)
	}
}

func deltaBytes(f *pion.TransportLayerCC) int {
	n := 0
	for _, d := range f.RecvDeltas {
		n += int(d.Type)
	}
	return n
}
