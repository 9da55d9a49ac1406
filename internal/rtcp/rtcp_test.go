package rtcp

import (
	"encoding/hex"
	"testing"
	"time"

	pion "github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// theirs writes packets with pion/rtcp.
func theirs(t testing.TB, packets ...pion.Packet) []byte {
	t.Helper()
	b, err := pion.Marshal(packets)
	require.NoError(t, err)
	return b
}

// read returns what a Reader makes of b.
func read(b []byte) []Packet {
	var packets []Packet
	r := NewReader(b)
	for {
		p, ok := r.Next()
		if !ok {
			return packets
		}
		packets = append(packets, p)
	}
}

// one reads the only packet of b.
func one(t testing.TB, b []byte) Packet {
	t.Helper()
	packets := read(b)
	require.Len(t, packets, 1, "in %x", b)
	return packets[0]
}

// parse reads b with pion/rtcp.
func parse(t testing.TB, b []byte) []pion.Packet {
	t.Helper()
	packets, err := pion.Unmarshal(b)
	require.NoError(t, err, "in %x", b)
	return packets
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   []byte
		want bool
	}{
		{"receiver report", []byte{0x80, 201, 0, 1}, true},
		{"lowest", []byte{128, 192, 0, 0}, true},
		{"highest", []byte{191, 223, 0, 0}, true},
		{"type too low", []byte{128, 191, 0, 0}, false},
		{"type too high", []byte{128, 224, 0, 0}, false},
		{"version 1", []byte{0x40, 201, 0, 0}, false},
		{"version 3", []byte{0xc0, 201, 0, 0}, false},
		{"RTP", []byte{0x80, 96, 0, 1}, false},
		{"short", []byte{0x80, 201, 0}, false},
		{"empty", nil, false},
	} {
		require.Equal(t, c.want, Is(c.in), c.name)
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"too short":                   "81c900",
		"wrong version":               "41c90001" + "00000001",
		"longer than the datagram":    "80c90002" + "00000001",
		"unknown type":                "80d00001" + "00000001",
		"application-defined":         "80cc0002" + "00000001" + "41424344",
		"report without its block":    "81c90001" + "00000001",
		"SR too short":                "80c80001" + "00000001",
		"RR without SSRC":             "80c90000",
		"padding of nothing":          "a0c90001" + "00000000",
		"padding longer than packet":  "a0c90001" + "00000009",
		"padding into the SSRC":       "a0c90001" + "00000002",
		"SDES chunk missing":          "81ca0000",
		"SDES without termination":    "81ca0002" + "00000001" + "01024142",
		"SDES item too long":          "81ca0003" + "00000001" + "01094142" + "00000000",
		"SDES second chunk missing":   "82ca0002" + "00000001" + "00000000",
		"BYE without its SSRC":        "81cb0000",
		"BYE reason too long":         "81cb0002" + "00000001" + "04414243",
		"feedback without media SSRC": "81ce0001" + "00000001",
		"NACK without entries":        "81cd0002" + "00000001" + "00000002",
		"FIR with half an entry":      "84ce0003" + "00000001" + "00000002" + "00000003",
		"FIR without entries":         "84ce0002" + "00000001" + "00000002",
		"REMB with too many SSRCs":    "8fce0004" + "00000001" + "00000000" + "52454d42" + "0103ffff",
		"REMB with too few SSRCs":     "8fce0005" + "00000001" + "00000000" + "52454d42" + "0003ffff" + "00000001",
		"REMB overflow":               "8fce0004" + "00000001" + "00000000" + "52454d42" + "00ffffff",
		"XR without SSRC":             "80cf0000",
		"XR block too long":           "80cf0002" + "00000001" + "04000002",
		"XR reference time too short": "80cf0003" + "00000001" + "04000001" + "00000001",
		"XR DLRR of two words":        "80cf0004" + "00000001" + "05000002" + "00000001" + "00000002",
		"TCC too short":               "8fcd0003" + "00000001" + "00000002" + "00010001",
		"TCC without chunks":          "8fcd0004" + "00000001" + "00000002" + "00010001" + "00000000",
		"TCC chunks end early":        "8fcd0005" + "00000001" + "00000002" + "0001000a" + "00000000" + "00010001",
		"TCC without deltas":          "8fcd0005" + "00000001" + "00000002" + "00010003" + "00000000" + "20030101",
	} {
		require.Empty(t, read(unhex(t, in)), name)
		// What came before it stays, what comes after is not looked at.
		pli := AppendPLI(nil, 1, 2)
		in := append(append(append([]byte(nil), pli...), unhex(t, in)...), pli...)
		if name != "too short" && name != "longer than the datagram" {
			require.Len(t, read(in), 1, name)
		}
	}
}

func TestCompound(t *testing.T) {
	t.Parallel()
	b := theirs(t,
		&pion.SenderReport{SSRC: 1, Reports: []pion.ReceptionReport{{SSRC: 5, FractionLost: 128, TotalLost: 12}}},
		&pion.ReceiverReport{SSRC: 2},
		&pion.PictureLossIndication{SenderSSRC: 3, MediaSSRC: 4},
	)
	packets := read(b)
	require.Len(t, packets, 3)
	require.Equal(t, []uint8{TypeSR, TypeRR, TypePSFB}, []uint8{packets[0].Type(), packets[1].Type(), packets[2].Type()})
	require.Equal(t, ReportBlock{SSRC: 5, FractionLost: 128, CumulativeLost: 12}, packets[0].ReportBlocks().At(0))
	require.Zero(t, packets[1].ReportBlocks().Len())
	require.True(t, packets[2].IsPLI())
	require.EqualValues(t, 4, packets[2].MediaSSRC())
	require.EqualValues(t, 3, packets[2].SSRC())
}

// TestWrongView asks packets of each type for what others have.
func TestWrongView(t *testing.T) {
	t.Parallel()
	for _, p := range read(sample(t)) {
		views(p)
	}
	views(nil)
	require.Zero(t, Packet(nil).Type())
}

// views calls every view of p.
func views(p Packet) (n int) {
	n += int(p.Type()) + int(p.Count()) + int(p.SSRC()) + int(p.MediaSSRC())
	_, _ = p.SenderReport()
	blocks := p.ReportBlocks()
	for i := range blocks.Len() {
		n += int(blocks.At(i).SSRC)
	}
	sources := p.Sources()
	for s, ok := sources.Next(); ok; s, ok = sources.Next() {
		n += int(s.SSRC()) + len(s.CNAME())
	}
	nacks := p.NACKs()
	for i := range nacks.Len() {
		pid, blp := nacks.At(i)
		n += int(pid) + int(blp)
	}
	firs := p.FIRs()
	for i := range firs.Len() {
		ssrc, seq := firs.At(i)
		n += int(ssrc) + int(seq)
	}
	if r, ok := p.REMB(); ok {
		for i := range r.SSRCs.Len() {
			n += int(r.SSRCs.At(i))
		}
	}
	if f, ok := p.TransportCC(); ok {
		statuses := f.Statuses()
		for s, ok := statuses.Next(); ok; s, ok = statuses.Next() {
			n += int(s.Seq) + int(s.Delta)
		}
		n += int(f.FeedbackCount()) + int(f.ReferenceTime())
	}
	xr := p.XRBlocks()
	for b, ok := xr.Next(); ok; b, ok = xr.Next() {
		ntp, _ := b.ReferenceTime()
		n += int(ntp)
		for i := range b.DLRRs().Len() {
			n += int(b.DLRRs().At(i).LRR)
		}
	}
	return n
}

// sample is a compound with everything in it.
func sample(t testing.TB) []byte {
	b := AppendSenderReport(nil, SenderReport{1, 2, 3, 4, 5})
	b = AppendReceiverReport(b, 0, []ReportBlock{{SSRC: 7, CumulativeLost: -1}, {SSRC: 8}})
	b = AppendSDES(b, []SDESChunk{{1, "someone"}})
	b = AppendXR(b, 0, NTP(time.Hour), []DLRREntry{{1, 2, 3}})
	b = AppendNACK(b, 1, 2, []uint16{3, 4, 50})
	b = AppendPLI(b, 1, 2)
	b = AppendFIR(b, 1, 2, 2, 9)
	b = AppendREMB(b, 0, 0, 500_000, []uint32{1, 2})
	b = append(b, theirs(t, exampleTCC())...)
	return append(b, theirs(t, &pion.Goodbye{Sources: []uint32{1, 2}, Reason: "gone"})...)
}

func TestAllocs(t *testing.T) {
	if race {
		t.Skip("counts of allocations mean nothing under -race")
	}
	in := sample(t)
	require.Len(t, read(in), 10)
	sum := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r := NewReader(in)
		for p, ok := r.Next(); ok; p, ok = r.Next() {
			sum += views(p)
		}
	}))

	dst := make([]byte, 0, 4096)
	blocks := make([]ReportBlock, 40)
	chunks := []SDESChunk{{1, "one"}, {2, "two"}}
	seqs := []uint16{1, 2, 3, 40}
	entries := make([]DLRREntry, 3)
	ssrcs := []uint32{1, 2}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b := AppendSenderReport(dst, SenderReport{})
		b = AppendReceiverReport(b, 0, blocks)
		b = AppendSDES(b, chunks)
		b = AppendXR(b, 0, 1, entries)
		b = AppendNACK(b, 0, 1, seqs)
		b = AppendPLI(b, 0, 1)
		b = AppendFIR(b, 0, 1, 1, 1)
		b = AppendREMB(b, 0, 0, 1, ssrcs)
		sum += len(b)
	}))
}

func TestNTP(t *testing.T) {
	t.Parallel()
	require.Equal(t, uint64(2_208_988_800)<<32, NTP(0))
	require.Equal(t, uint64(2_208_988_801)<<32|1<<31, NTP(1500*time.Millisecond))
	require.Equal(t, uint64(2_208_988_799)<<32|1<<31, NTP(-500*time.Millisecond))
	require.EqualValues(t, 0x0001_8000, CompactNTP(0xabcd_0001_8000_1234))
}

func BenchmarkRead(b *testing.B) {
	in := sample(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		r := NewReader(in)
		for _, ok := r.Next(); ok; _, ok = r.Next() {
		}
	}
}
