package twcc

import (
	"math/rand/v2"
	"testing"
	"time"

	pion "github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
)

const ms = time.Millisecond

// A report is what one feedback says.
type report struct {
	base  uint16
	count int
	lost  []uint16
	media uint32
	fb    uint8
	at    map[uint16]time.Duration // arrivals
}

// parse reads one feedback with pion/rtcp and with our own reader, which have
// to agree.
func parse(t testing.TB, b []byte) report {
	t.Helper()
	require.LessOrEqual(t, len(b), maxSize)
	require.Zero(t, len(b)%4)

	var their pion.TransportLayerCC
	require.NoError(t, their.Unmarshal(b), "in %x", b)
	require.Zero(t, their.SenderSSRC)
	rep := report{
		base: their.BaseSequenceNumber, count: int(their.PacketStatusCount), media: their.MediaSSRC, fb: their.FbPktCount,
		at: map[uint16]time.Duration{},
	}
	var symbols []uint16
	for _, c := range their.PacketChunks {
		switch c := c.(type) {
		case *pion.RunLengthChunk:
			for range c.RunLength {
				symbols = append(symbols, c.PacketStatusSymbol)
			}
		case *pion.StatusVectorChunk:
			symbols = append(symbols, c.SymbolList...)
		}
	}
	require.GreaterOrEqual(t, len(symbols), rep.count)
	at := time.Duration(their.ReferenceTime) * 64 * ms
	deltas := their.RecvDeltas
	for i, s := range symbols[:rep.count] {
		seq := rep.base + uint16(i)
		if s == 0 {
			rep.lost = append(rep.lost, seq)
			continue
		}
		at += time.Duration(deltas[0].Delta) * time.Microsecond
		deltas = deltas[1:]
		rep.at[seq] = at
	}
	require.Empty(t, deltas)

	reader := rtcp.NewReader(b)
	p, ok := reader.Next()
	require.True(t, ok)
	f, ok := p.TransportCC()
	require.True(t, ok)
	require.Equal(t, rep.count, f.Count())
	at = time.Duration(f.ReferenceTime()) * 64 * ms
	ours := map[uint16]time.Duration{}
	statuses := f.Statuses()
	for s, ok := statuses.Next(); ok; s, ok = statuses.Next() {
		if s.Received {
			at += time.Duration(s.Delta) * time.Microsecond
			ours[s.Seq] = at
		}
	}
	require.Equal(t, rep.at, ours)
	return rep
}

// flush returns all that is to be sent now.
func flush(t testing.TB, r *Recorder) []report {
	t.Helper()
	var reports []report
	for {
		b, ok := r.Next(make([]byte, 0, maxSize))
		if !ok {
			require.Empty(t, b)
			return reports
		}
		rep := parse(t, b)
		lost, expected := r.Last()
		require.Equal(t, rep.count, expected)
		require.Len(t, rep.lost, lost)
		reports = append(reports, rep)
	}
}

// an input is packets that arrive one after the other, and the feedback that
// they cause.
type input struct {
	at    time.Duration
	seqs  []uint16
	wants []want
}

type want struct {
	base  uint16
	count int
	lost  []uint16
}

// TestFeedback follows mediasoup's TestTransportCongestionControlServer.cpp and
// goes on where that ends.
func TestFeedback(t *testing.T) {
	t.Parallel()
	for name, inputs := range map[string][]input{
		"nothing":   {{0, nil, nil}},
		"in order":  {{0, []uint16{1, 2, 3}, []want{{1, 3, nil}}}, {100 * ms, nil, nil}, {200 * ms, []uint16{4}, []want{{4, 1, nil}}}},
		"lost":      {{0, []uint16{1, 3, 5}, []want{{1, 5, []uint16{2, 4}}}}},
		"duplicate": {{0, []uint16{1, 1, 2, 2, 2}, []want{{1, 2, nil}}}, {100 * ms, []uint16{3}, []want{{3, 1, nil}}}},
		"reordered": {{0, []uint16{1, 3, 2, 5, 4}, []want{{1, 5, nil}}}},
		"lost between two feedbacks": {
			{0, []uint16{1, 2}, []want{{1, 2, nil}}}, {100 * ms, []uint16{5}, []want{{3, 3, []uint16{3, 4}}}},
		},
		"late": {
			{0, []uint16{10, 11, 13}, []want{{10, 4, []uint16{12}}}},
			{100 * ms, []uint16{12}, []want{{12, 2, nil}}},
			{200 * ms, []uint16{14}, []want{{14, 1, nil}}},
		},
		"duplicate of what was reported": {
			{0, []uint16{1, 2}, []want{{1, 2, nil}}}, {100 * ms, []uint16{2}, nil},
		},
		"older than the first": {
			{0, []uint16{10, 8}, []want{{8, 3, []uint16{9}}}}, {100 * ms, []uint16{7}, []want{{7, 4, []uint16{9}}}},
		},
		"wrap": {
			{0, []uint16{65534, 65535, 1}, []want{{65534, 4, []uint16{0}}}}, {100 * ms, []uint16{2}, []want{{2, 1, nil}}},
		},
		"late across the wrap": {
			{0, []uint16{0, 1}, []want{{0, 2, nil}}}, {100 * ms, []uint16{65535, 2}, []want{{65535, 4, nil}}},
		},
		"late one is alone when its neighbours are forgotten": {
			{0, []uint16{1, 2, 4}, []want{{1, 4, []uint16{3}}}},
			{600 * ms, []uint16{5}, []want{{5, 1, nil}}},
			{700 * ms, []uint16{6}, []want{{6, 1, nil}}},
			{800 * ms, []uint16{3}, []want{{3, 4, []uint16{4}}}},
		},
		"longest gap": {{0, []uint16{0, 8192}, []want{{0, 8193, numbers(1, 8192)}}}},
		"gap too long": {
			{0, []uint16{0, 8193, 8194}, []want{{0, 1, nil}, {8193, 2, nil}}}, {100 * ms, []uint16{8195}, []want{{8195, 1, nil}}},
		},
		"gap too long between two feedbacks": {
			{0, []uint16{0}, []want{{0, 1, nil}}}, {100 * ms, []uint16{20_000}, []want{{20_000, 1, nil}}},
		},
		"gap that needs two chunks": {{0, append(numbers(0, 7), 8190), []want{{0, 8191, numbers(7, 8190)}}}},
		"more statuses than one feedback counts": {
			{0, []uint16{0, 8000, 16000, 24000, 32000, 40000, 48000, 56000, 64000, 64001, 3000}, []want{
				{0, 64002, nil}, {64002, 65536 - 64002 + 3001, nil},
			}},
		},
		"delta too long": {
			{0, []uint16{0}, nil}, // as if the timer stood still
			{8193 * ms, []uint16{1}, []want{{0, 1, nil}, {1, 1, nil}}},
		},
	} {
		r := New()
		count := uint8(0)
		for i, in := range inputs {
			for j, seq := range in.seqs {
				r.Received(in.at+time.Duration(j)*ms, seq, 7)
			}
			if name == "delta too long" && i == 0 {
				continue
			}
			got := flush(t, r)
			require.Len(t, got, len(in.wants), "%s: %d", name, i)
			for j, w := range in.wants {
				require.Equal(t, w.base, got[j].base, "%s: base of %d.%d", name, i, j)
				require.Equal(t, w.count, got[j].count, "%s: count of %d.%d", name, i, j)
				if w.lost != nil || w.count < 100 {
					require.Equal(t, w.lost, got[j].lost, "%s: lost in %d.%d", name, i, j)
				}
				require.Equal(t, count, got[j].fb, "%s: number of %d.%d", name, i, j)
				if count == 0 {
					require.Zero(t, got[j].media, "media SSRC of the first")
				} else {
					require.EqualValues(t, 7, got[j].media, name)
				}
				count++
			}
		}
	}
}

// numbers returns from, from+1 … to-1.
func numbers(from, to int) []uint16 {
	var seqs []uint16
	for i := from; i < to; i++ {
		seqs = append(seqs, uint16(i))
	}
	return seqs
}

// TestRecorded sends what scenario 14-twcc sent to the mediasoup worker 3.27.1:
// a packet each 20 ms from 65,500 on, the two of 2,000 and 2,020 ms lost, and
// reads what was recorded. Feedback is due 45 ms after the first packet.
func TestRecorded(t *testing.T) {
	t.Parallel()
	// Feedbacks that were identical in all runs, and the first.
	recorded := map[uint8]want{
		0:  {65500, 3, nil},
		17: {47, 5, nil}, 18: {52, 5, nil}, 19: {57, 5, nil},
		20: {62, 5, []uint16{64, 65}}, 21: {67, 5, nil}, 28: {102, 5, nil}, 29: {107, 5, nil},
	}
	r := New()
	seq := uint16(65500)
	n := 0
	for now := 0; now < 6000; now++ {
		if now%20 == 0 {
			if now != 2000 && now != 2020 {
				r.Received(time.Duration(now)*ms, seq, 0x8ae)
			}
			seq++
		}
		if now%100 != 45 {
			continue
		}
		got := flush(t, r)
		require.Len(t, got, 1)
		require.EqualValues(t, n, got[0].fb)
		if n == 0 {
			require.Zero(t, got[0].media)
		} else {
			require.EqualValues(t, 0x8ae, got[0].media)
		}
		if w, ok := recorded[got[0].fb]; ok {
			require.Equal(t, w, want{got[0].base, got[0].count, got[0].lost}, "feedback %d", n)
		}
		n++
	}
	require.Equal(t, 60, n)
}

// TestTransfer sends packets through a bad network and wants each arrival to be
// told, to the nearest quarter of a millisecond.
func TestTransfer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		r := New()
		pace := time.Duration(1+rnd.IntN(20_000)) * time.Microsecond
		loss, late, burst := rnd.Float64()*0.5, rnd.Float64()*0.2, rnd.Float64()*0.01
		now := time.Duration(rnd.Int64N(int64(time.Hour)))
		next := now + 100*ms
		arrived := map[uint16]time.Duration{}
		told := map[uint16]time.Duration{}
		var delayed []uint16
		seq := uint16(rnd.Uint32())
		receive := func(seq uint16) {
			if _, ok := arrived[seq]; !ok {
				arrived[seq] = now
			}
			r.Received(now, seq, 1)
		}
		report := func() {
			for _, rep := range flush(t, r) {
				for seq, at := range rep.at {
					told[seq] = at
				}
			}
		}
		for range 5000 {
			now += time.Duration(rnd.ExpFloat64() * float64(pace))
			switch x := rnd.Float64(); {
			case x < loss:
			case x < loss+late:
				delayed = append(delayed, seq)
			default:
				receive(seq)
			}
			seq++
			if rnd.Float64() < burst {
				seq += uint16(rnd.IntN(100))
			}
			if len(delayed) > 0 && rnd.IntN(10) == 0 {
				receive(delayed[0])
				if rnd.IntN(4) == 0 {
					receive(delayed[0])
				}
				delayed = delayed[1:]
			}
			if now >= next {
				report()
				next = now + 100*ms
			}
		}
		report()
		require.Len(t, told, len(arrived), "seed %d", seed)
		for seq, at := range arrived {
			// The reference time has 24 bits.
			require.InDelta(t, at%(64*ms<<24), told[seq], float64(125*time.Microsecond), "seed %d, packet %d", seed, seq)
		}
	}
}

// TestChunks sends all patterns of loss and pauses of some length, so that each
// kind of chunk follows each.
func TestChunks(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		r := New()
		now := time.Second
		arrived := map[uint16]time.Duration{}
		seq := uint16(rnd.Uint32())
		r.Received(now, seq, 1)
		arrived[seq] = now
		for range 1 + rnd.IntN(12) {
			kind := rnd.IntN(4)
			for range 1 + rnd.IntN(24) {
				seq++
				switch k := kind; {
				case k == 3 && rnd.IntN(2) == 0, k == 1:
					continue // lost
				case k == 2:
					now += 70 * ms
				default:
					now += ms
				}
				r.Received(now, seq, 1)
				arrived[seq] = now
			}
		}
		got := flush(t, r)
		require.Len(t, got, 1)
		require.Equal(t, arrived, got[0].at)
	}
}

// TestLongestRun fills a run, which no feedback has room for.
func TestLongestRun(t *testing.T) {
	t.Parallel()
	var r run
	for range maxGap {
		require.True(t, r.fits(small))
		r.add(small)
	}
	require.False(t, r.fits(small))
	require.EqualValues(t, small<<13|maxGap, r.take(false))
	require.True(t, r.fits(large))
}

// TestFull makes feedbacks of the greatest size.
func TestFull(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]uint16{"no loss": 1, "every other": 2, "every tenth": 10, "every thousandth": 1000} {
		for _, pause := range []time.Duration{0, 10 * time.Microsecond, 70 * ms} {
			r := New()
			now := time.Duration(0)
			var seqs []uint16
			for seq := range uint16(3000) {
				now += pause
				if step < 1000 || seq < 60 {
					seqs = append(seqs, seq*step)
					r.Received(now, seq*step, 1)
				}
			}
			var told, reports int
			for {
				b, ok := r.Next(nil)
				if !ok {
					break
				}
				told += len(parse(t, b).at)
				reports++
				if step < 1000 && told < len(seqs) {
					require.Greater(t, len(b), maxSize-8, name)
				}
			}
			require.Equal(t, len(seqs), told, name)
			t.Logf("%s, %v apart: %d packets in %d feedbacks", name, pause, told, reports)
		}
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	r := New()
	require.Zero(t, r.Loss())
	r.Received(0, 0, 1)
	r.Received(0, 3, 1)
	flush(t, r)
	require.InDelta(t, 0.5, r.Loss(), 1e-6)
	r.Received(0, 4, 1)
	flush(t, r)
	require.InDelta(t, 0.5*1/(1+2), r.Loss(), 1e-6)
	// 22 more, then the first is gone.
	for seq := uint16(5); seq < 27; seq++ {
		r.Received(0, seq, 1)
		flush(t, r)
	}
	require.InDelta(t, 0.5*1/(24*25/2), r.Loss(), 1e-6)
	r.Received(0, 27, 1)
	flush(t, r)
	require.Zero(t, r.Loss())
	r.Received(0, 31, 1)
	flush(t, r)
	require.InDelta(t, 0.75*24/(24*25/2), r.Loss(), 1e-6)
}

// TestHostile sends random numbers, faster than anybody would, with feedback
// and without: memory stays bounded and Next comes to an end.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(i int, rnd *rand.Rand) uint16{
		"random":     func(_ int, rnd *rand.Rand) uint16 { return uint16(rnd.Uint32()) },
		"far ahead":  func(i int, _ *rand.Rand) uint16 { return uint16(i * 32_767) },
		"far behind": func(i int, _ *rand.Rand) uint16 { return uint16(-i * 32_767) },
		"descending": func(i int, _ *rand.Rand) uint16 { return uint16(-i) },
		"gaps":       func(i int, _ *rand.Rand) uint16 { return uint16(i * 8191) },
	} {
		for _, feedback := range []bool{true, false} {
			rnd := rand.New(rand.NewPCG(1, 9))
			r := New()
			packets := 40_000
			if race {
				packets = 10_000
			}
			for i := range packets {
				r.Received(time.Duration(i)*10*time.Microsecond, next(i, rnd), 1)
				if feedback && i%5000 == 0 {
					n := 0
					for {
						b, ok := r.Next(nil)
						if !ok {
							break
						}
						require.LessOrEqual(t, len(b), maxSize)
						n++
					}
					require.LessOrEqual(t, n, maxArrivals)
				}
				require.LessOrEqual(t, len(r.buf)-r.head, maxArrivals)
			}
			require.LessOrEqual(t, cap(r.buf), 4*maxArrivals, name)
			for i := range maxArrivals + 1 {
				b, ok := r.Next(nil)
				if !ok {
					break
				}
				require.Less(t, i, maxArrivals, name)
				if i < 20 {
					parse(t, b)
				}
			}
		}
	}
}

func FuzzRecorder(f *testing.F) {
	f.Add([]byte{0, 1, 1, 0, 2, 1, 0, 3, 1})
	f.Add([]byte{255, 255, 1, 0, 0, 80, 0, 40, 1, 0, 2, 250, 0x20, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := New()
		now := time.Duration(0)
		for i := 0; i+2 < len(in); i += 3 {
			now += time.Duration(in[i+2]) * ms
			r.Received(now, uint16(in[i])<<8|uint16(in[i+1]), uint32(in[i]))
			if in[i+2]&7 == 7 {
				flush(t, r)
			}
		}
		flush(t, r)
	})
}

func TestAllocs(t *testing.T) {
	if race {
		t.Skip("counts of allocations mean nothing under -race")
	}
	r := New()
	now, seq := time.Duration(0), uint16(0)
	dst := make([]byte, 0, maxSize)
	round := func() {
		for range 200 {
			now += 500 * time.Microsecond
			seq++
			if seq%50 != 0 {
				r.Received(now, seq, 1)
			}
			if seq%100 == 3 {
				r.Received(now, seq-5, 1)
			}
		}
		for {
			if _, ok := r.Next(dst); !ok {
				return
			}
		}
	}
	for range 20 {
		round()
	}
	require.Zero(t, testing.AllocsPerRun(100, round))
}

func BenchmarkRecorder(b *testing.B) {
	r := New()
	now, seq := time.Duration(0), uint16(0)
	dst := make([]byte, 0, maxSize)
	b.ReportAllocs()
	for b.Loop() {
		now += 500 * time.Microsecond
		seq++
		r.Received(now, seq, 1)
		if seq%200 == 0 {
			_, _ = r.Next(dst)
		}
	}
}
