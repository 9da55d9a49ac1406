package rtcp

import (
	"strings"
	"testing"

	pion "github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

func TestSenderReport(t *testing.T) {
	t.Parallel()
	want := SenderReport{SSRC: 0x5d931534, NTP: 3711615412<<32 | 1985245553, RTPTimestamp: 577280, PacketCount: 3608, OctetCount: 577280}
	theirReport := &pion.SenderReport{SSRC: want.SSRC, NTPTime: want.NTP, RTPTime: want.RTPTimestamp, PacketCount: want.PacketCount, OctetCount: want.OctetCount}

	got, ok := one(t, theirs(t, theirReport)).SenderReport()
	require.True(t, ok)
	require.Equal(t, want, got)

	b := AppendSenderReport([]byte{1}, want)
	require.Equal(t, theirs(t, theirReport), b[1:])

	_, ok = one(t, AppendReceiverReport(nil, 1, nil)).SenderReport()
	require.False(t, ok)
}

func TestReportBlocks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 31, 32, 70} {
		var blocks []ReportBlock
		for i := range n {
			blocks = append(blocks, ReportBlock{
				SSRC: uint32(i), FractionLost: uint8(i), CumulativeLost: int32(i * 1000), HighestSeq: 1<<31 | uint32(i),
				Jitter: 9, LSR: 0xdeadbeef, DLSR: 77,
			})
		}
		b := AppendReceiverReport(nil, 42, blocks)
		var ours, pions []ReportBlock
		for _, p := range read(b) {
			require.EqualValues(t, 42, p.SSRC())
			for i := range p.ReportBlocks().Len() {
				ours = append(ours, p.ReportBlocks().At(i))
			}
		}
		require.Equal(t, blocks, ours)
		packets := parse(t, b)
		require.Len(t, packets, max(1, (n+30)/31))
		for _, p := range packets {
			for _, r := range p.(*pion.ReceiverReport).Reports {
				pions = append(pions, ReportBlock{r.SSRC, r.FractionLost, int32(r.TotalLost), r.LastSequenceNumber, r.Jitter, r.LastSenderReport, r.Delay})
			}
		}
		require.Equal(t, blocks, pions)
	}
}

func TestCumulativeLost(t *testing.T) {
	t.Parallel()
	for in, want := range map[int32]int32{
		0: 0, -1: -1, 1<<23 - 1: 1<<23 - 1, 1 << 23: 1<<23 - 1, -1 << 23: -1 << 23, -1<<23 - 1: -1 << 23,
	} {
		got := one(t, AppendReceiverReport(nil, 0, []ReportBlock{{FractionLost: 255, CumulativeLost: in}})).ReportBlocks().At(0)
		require.Equal(t, want, got.CumulativeLost, "%d", in)
		require.EqualValues(t, 255, got.FractionLost)
	}
}

func TestSDES(t *testing.T) {
	t.Parallel()
	for length := range 10 { // every alignment
		cname := strings.Repeat("n", length)
		b := AppendSDES(nil, []SDESChunk{{7, cname}})
		want := theirs(t, &pion.SourceDescription{Chunks: []pion.SourceDescriptionChunk{{
			Source: 7, Items: []pion.SourceDescriptionItem{{Type: pion.SDESCNAME, Text: cname}},
		}}})
		require.Equal(t, want, b)
		sources := one(t, b).Sources()
		s, ok := sources.Next()
		require.True(t, ok)
		require.EqualValues(t, 7, s.SSRC())
		require.Equal(t, cname, string(s.CNAME()))
		_, ok = sources.Next()
		require.False(t, ok)
	}
}

func TestSDESChunks(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 31, 32, 63} {
		var chunks []SDESChunk
		for i := range n {
			chunks = append(chunks, SDESChunk{uint32(i), strings.Repeat("x", i)})
		}
		b := AppendSDES(nil, chunks)
		var ours []SDESChunk
		for _, p := range read(b) {
			sources := p.Sources()
			for s, ok := sources.Next(); ok; s, ok = sources.Next() {
				ours = append(ours, SDESChunk{s.SSRC(), string(s.CNAME())})
			}
		}
		require.Equal(t, chunks, ours)
		if n == 0 {
			require.Empty(t, b)
			continue
		}
		require.Len(t, parse(t, b), (n+30)/31)
	}
}

func TestSDESForms(t *testing.T) {
	t.Parallel()
	cut := AppendSDES(nil, []SDESChunk{{1, strings.Repeat("x", 300)}})
	sources := one(t, cut).Sources()
	s, _ := sources.Next()
	require.Len(t, s.CNAME(), 255)

	// A chunk without items, then one whose CNAME is not the first item.
	b := unhex(t, "82ca0006"+"00000001"+"00000000"+"00000002"+"0201410102424300"+"00000000")
	require.Empty(t, read(b[:len(b)-4]), "cut off")
	sources = one(t, unhex(t, "82ca0005"+"00000001"+"00000000"+"00000002"+"0201410102424300")).Sources()
	s, _ = sources.Next()
	require.Nil(t, s.CNAME())
	s, _ = sources.Next()
	require.Equal(t, "BC", string(s.CNAME()))
}

func TestXR(t *testing.T) {
	t.Parallel()
	entries := []DLRREntry{{1, 2, 3}, {0xffffffff, 5, 6}}
	theirRRT := &pion.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x123456789abcdef0}
	theirDLRR := &pion.DLRRReportBlock{Reports: []pion.DLRRReport{{SSRC: 1, LastRR: 2, DLRR: 3}, {SSRC: 0xffffffff, LastRR: 5, DLRR: 6}}}
	xr := func(blocks ...pion.ReportBlock) []byte {
		return theirs(t, &pion.ExtendedReport{SenderSSRC: 9, Reports: blocks})
	}

	require.Equal(t, xr(theirRRT), AppendXR(nil, 9, theirRRT.NTPTimestamp, nil))
	require.Equal(t, xr(theirDLRR), AppendXR(nil, 9, 0, entries))
	require.Equal(t, xr(theirRRT, theirDLRR), AppendXR(nil, 9, theirRRT.NTPTimestamp, entries))
	require.Empty(t, AppendXR(nil, 9, 0, nil))

	// With a block between them that is not read.
	p := one(t, xr(theirRRT, &pion.StatisticsSummaryReportBlock{SSRC: 3}, theirDLRR))
	require.EqualValues(t, 9, p.SSRC())
	blocks := p.XRBlocks()
	b, ok := blocks.Next()
	require.True(t, ok)
	ntp, ok := b.ReferenceTime()
	require.True(t, ok)
	require.Equal(t, theirRRT.NTPTimestamp, ntp)
	require.Zero(t, b.DLRRs().Len())
	b, _ = blocks.Next()
	require.EqualValues(t, 6, b.Type())
	b, _ = blocks.Next()
	_, ok = b.ReferenceTime()
	require.False(t, ok)
	require.Equal(t, entries, []DLRREntry{b.DLRRs().At(0), b.DLRRs().At(1)})
	_, ok = blocks.Next()
	require.False(t, ok)
}
