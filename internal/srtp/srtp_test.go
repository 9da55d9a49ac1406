package srtp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func master(s Suite, seed byte) []byte {
	m := make([]byte, s.MasterLen())
	for i := range m {
		m[i] = byte(i)*7 + seed
	}
	return m
}

func pair(t testing.TB, s Suite) (*Sender, *Receiver) {
	t.Helper()
	tx, err := NewSender(s, master(s, 1))
	require.NoError(t, err)
	rx, err := NewReceiver(s, master(s, 1))
	require.NoError(t, err)
	return tx, rx
}

// packet returns an RTP packet of n bytes with a header extension.
func packet(ssrc uint32, seq uint16, n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = 0x90, 96
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*3000)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	copy(b[12:], []byte{0xbe, 0xde, 0, 2, 0x10, 1, 0x22, 1, 2, 3, 0, 0})
	for i := 24; i < n; i++ {
		b[i] = byte(i) ^ byte(seq)
	}
	return b
}

func report(ssrc uint32, n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = 0x80, 200
	binary.BigEndian.PutUint16(b[2:], uint16(n/4-1))
	binary.BigEndian.PutUint32(b[4:], ssrc)
	for i := 8; i < n; i++ {
		b[i] = byte(i)
	}
	return b
}

func TestSuite(t *testing.T) {
	for _, c := range []struct {
		suite                         Suite
		key, salt, overhead, overRTCP int
	}{
		{AEADAES128GCM, 16, 12, 16, 20},
		{AEADAES256GCM, 32, 12, 16, 20},
		{AESCM128SHA80, 16, 14, 10, 14},
		{AESCM128SHA32, 16, 14, 4, 14},
	} {
		s := c.suite
		require.True(t, s.Valid(), s)
		require.Equal(t, c.key, s.KeyLen(), s)
		require.Equal(t, c.salt, s.SaltLen(), s)
		require.Equal(t, c.key+c.salt, s.MasterLen(), s)
		require.LessOrEqual(t, max(c.overhead, c.overRTCP), MaxOverhead)

		tx, rx := pair(t, s)
		require.Equal(t, s, tx.Suite())
		require.Equal(t, s, rx.Suite())
		b, err := tx.ProtectRTP(nil, packet(1, 1, 100))
		require.NoError(t, err)
		require.Len(t, b, 100+c.overhead)
		b, err = tx.ProtectRTCP(nil, report(1, 28))
		require.NoError(t, err)
		require.Len(t, b, 28+c.overRTCP)
	}
	require.Equal(t, AEADAES128GCM, Suites()[0])

	bad := Suite("AES_CM_256")
	require.False(t, bad.Valid())
	require.Zero(t, bad.MasterLen())
	_, err := NewSender(bad, nil)
	require.ErrorIs(t, err, ErrSuite)
	_, err = NewReceiver(AEADAES128GCM, make([]byte, 30))
	require.ErrorIs(t, err, ErrMasterLength)
}

func TestRoundTrip(t *testing.T) {
	for _, s := range Suites() {
		for _, place := range []string{"in place", "other buffer", "nil"} {
			t.Run(string(s)+" "+place, func(t *testing.T) {
				tx, rx := pair(t, s)
				// move returns what goes in and where the result goes.
				move := func(b []byte) (dst, in []byte) {
					switch place {
					case "in place":
						buf := make([]byte, len(b), len(b)+MaxOverhead)
						copy(buf, b)
						return buf, buf
					case "nil":
						return nil, b
					}
					return make([]byte, 2000), b
				}
				for _, n := range []int{24, 25, 100, 1200} {
					want := packet(7, uint16(n), n)
					dst, in := move(want)
					sealed, err := tx.ProtectRTP(dst, in)
					require.NoError(t, err)
					require.Equal(t, want[:24], sealed[:24])
					if n > 64 {
						require.NotEqual(t, want[24:], sealed[24:n])
					}
					dst, in = move(sealed)
					got, err := rx.UnprotectRTP(dst, in)
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
				for i := range 3 {
					want := report(9, 28+8*i)
					dst, in := move(want)
					sealed, err := tx.ProtectRTCP(dst, in)
					require.NoError(t, err)
					dst, in = move(sealed)
					got, err := rx.UnprotectRTCP(dst, in)
					require.NoError(t, err)
					require.Equal(t, want, got)
				}
			})
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, s := range Suites() {
		tx, rx := pair(t, s)
		sealed, err := tx.ProtectRTP(nil, packet(1, 10, 200))
		require.NoError(t, err)
		for i := range sealed {
			b := append([]byte(nil), sealed...)
			b[i] ^= 1
			_, err := rx.UnprotectRTP(make([]byte, 300), b)
			require.Error(t, err, "%s: byte %d", s, i)
		}
		for n := range sealed {
			_, err := rx.UnprotectRTP(make([]byte, 300), append([]byte(nil), sealed[:n]...))
			require.Error(t, err, "%s: length %d", s, n)
		}
		require.Zero(t, rx.Streams(), "bad packets leave no trace")
		_, err = rx.UnprotectRTP(nil, sealed)
		require.NoError(t, err)
		require.Equal(t, 1, rx.Streams())
		_, err = rx.UnprotectRTP(nil, sealed)
		require.ErrorIs(t, err, ErrReplay)

		sealed, err = tx.ProtectRTCP(nil, report(1, 28))
		require.NoError(t, err)
		for i := range sealed {
			b := append([]byte(nil), sealed...)
			b[i] ^= 1
			_, err := rx.UnprotectRTCP(make([]byte, 300), b)
			require.Error(t, err, "%s: byte %d", s, i)
		}
		for n := range sealed {
			_, err := rx.UnprotectRTCP(make([]byte, 300), append([]byte(nil), sealed[:n]...))
			require.Error(t, err, "%s: length %d", s, n)
		}
		require.Empty(t, rx.reporters)
		_, err = rx.UnprotectRTCP(nil, sealed)
		require.NoError(t, err)
		_, err = rx.UnprotectRTCP(nil, sealed)
		require.ErrorIs(t, err, ErrReplay)

		other, err := NewReceiver(s, master(s, 2))
		require.NoError(t, err)
		b, err := tx.ProtectRTP(nil, packet(1, 11, 200))
		require.NoError(t, err)
		_, err = other.UnprotectRTP(nil, b)
		require.ErrorIs(t, err, ErrAuthentication)

		for _, short := range [][]byte{nil, {0x80}, make([]byte, 11)} {
			_, err = tx.ProtectRTP(nil, short)
			require.ErrorIs(t, err, ErrMalformed)
			_, err = tx.ProtectRTCP(nil, short[:min(len(short), 7)])
			require.ErrorIs(t, err, ErrMalformed)
		}
		broken := packet(5, 1, 40)
		broken[15] = 200 // extension longer than the packet
		_, err = tx.ProtectRTP(nil, broken)
		require.ErrorIs(t, err, ErrMalformed)
		require.Equal(t, 1, tx.Streams())
	}
}

func TestReplayWindow(t *testing.T) {
	tx, rx := pair(t, AEADAES128GCM)
	seal := func(seq int) []byte {
		b, err := tx.ProtectRTP(nil, packet(1, uint16(seq), 50))
		require.NoError(t, err)
		return b
	}
	sealed := make([][]byte, 3000)
	for i := range sealed {
		sealed[i] = seal(1000 + i)
	}
	open := func(i int) error {
		_, err := rx.UnprotectRTP(nil, sealed[i])
		return err
	}
	require.NoError(t, open(0))
	require.NoError(t, open(2999))
	require.NoError(t, open(2999-1023))
	require.ErrorIs(t, open(2999-1023), ErrReplay)
	require.ErrorIs(t, open(2999-1024), ErrReplay, "older than the window")
}

// A packet sent again, without RTX, has the same bytes, and older packets than
// the last one may be sent, also around a wrap of the sequence number.
func TestRepeat(t *testing.T) {
	for _, s := range Suites() {
		tx, rx := pair(t, s)
		sent := map[int][]byte{}
		for i := 65000; i < 66000; i++ {
			b, err := tx.ProtectRTP(nil, packet(1, uint16(i), 60))
			require.NoError(t, err)
			sent[i] = b
		}
		for _, i := range []int{65999, 65540, 65535, 65536, 65400, 65000, 65999} {
			b, err := tx.ProtectRTP(nil, packet(1, uint16(i), 60))
			require.NoError(t, err)
			require.Equal(t, sent[i], b, "packet %d", i)
		}
		b, err := tx.ProtectRTP(nil, packet(1, uint16(66000&0xffff), 60))
		require.NoError(t, err)
		_, err = rx.UnprotectRTP(nil, sent[65001])
		require.NoError(t, err)
		_, err = rx.UnprotectRTP(nil, b)
		require.NoError(t, err, "the rollover counter stayed right")
	}
}

func TestRTCPIndexIsNeverUsedTwice(t *testing.T) {
	for _, s := range []Suite{AEADAES128GCM, AESCM128SHA80} {
		tx, _ := pair(t, s)
		seen := map[uint64]bool{}
		for i := range 400 {
			ssrc := uint32(i % 3)
			b, err := tx.ProtectRTCP(nil, report(ssrc, 28))
			require.NoError(t, err)
			end := len(b)
			if s == AESCM128SHA80 {
				end -= 10
			}
			key := uint64(ssrc)<<32 | uint64(binary.BigEndian.Uint32(b[end-4:]))
			require.False(t, seen[key], "report %d", i)
			seen[key] = true
			tx.Forget(ssrc)
		}
		if s == AESCM128SHA80 {
			require.NotZero(t, tx.generation, "contexts were replaced")
		}
	}
}

func TestForget(t *testing.T) {
	for _, s := range Suites() {
		tx, rx := pair(t, s)
		send := func(ssrc uint32, seq int) {
			t.Helper()
			b, err := tx.ProtectRTP(nil, packet(ssrc, uint16(seq), 60))
			require.NoError(t, err)
			_, err = rx.UnprotectRTP(nil, b)
			require.NoError(t, err)
		}
		// One stream lives on, deep in its rollover counter, while very many
		// others come and go.
		for i := 0; i < 200_000; i += 10_000 {
			send(1, 60_000+i)
		}
		for i := range uint32(2000) {
			ssrc := 100 + i
			send(ssrc, 65530)
			send(ssrc, 65537)
			require.LessOrEqual(t, tx.forgotten+tx.Streams(), rebuildSlack+4)
			require.LessOrEqual(t, rx.forgotten+rx.Streams(), rebuildSlack+4)
			tx.Forget(ssrc)
			rx.Forget(ssrc)
			if i%100 == 0 {
				send(1, 260_000+int(i)*150)
			}
			// Forgotten on both ends it begins anew, at ROC 0.
			send(ssrc, 3)
			tx.Forget(ssrc)
			rx.Forget(ssrc)
		}
		require.Equal(t, 1, tx.Streams())
		require.Equal(t, 1, rx.Streams())
		require.Equal(t, s == AESCM128SHA80 || s == AESCM128SHA32, rx.generation > 0, "contexts were replaced")
		rx.Forget(4711) // unknown
		tx.Forget(4711)
	}
}

func TestBounds(t *testing.T) {
	tx, rx := pair(t, AEADAES128GCM)
	for i := range uint32(MaxStreams) {
		b, err := tx.ProtectRTP(nil, packet(i, 1, 40))
		require.NoError(t, err)
		_, err = rx.UnprotectRTP(nil, b)
		require.NoError(t, err)
	}
	b, err := tx.ProtectRTP(nil, packet(1<<30, 1, 40))
	require.NoError(t, err)
	_, err = rx.UnprotectRTP(nil, b)
	require.ErrorIs(t, err, ErrTooManyStreams)
	rx.Forget(5)
	_, err = rx.UnprotectRTP(nil, b)
	require.NoError(t, err)

	for i := range uint32(3 * maxReporters) {
		b, err := tx.ProtectRTCP(nil, report(i, 28))
		require.NoError(t, err)
		_, err = rx.UnprotectRTCP(nil, b)
		require.NoError(t, err)
		require.LessOrEqual(t, len(rx.reporters), maxReporters)
	}
}

func TestExhausted(t *testing.T) {
	tx, _ := pair(t, AEADAES128GCM)
	_, err := tx.ProtectRTP(nil, packet(1, 65535, 40))
	require.NoError(t, err)
	tx.streams[1].tracker.highest = 1<<48 - 1
	_, err = tx.ProtectRTP(nil, packet(1, 0, 40))
	require.ErrorIs(t, err, ErrExhausted)
	_, err = tx.ProtectRTCP(nil, report(1, 28))
	require.NoError(t, err)
	tx.rtcpHighest = maxRTCPIndex
	_, err = tx.ProtectRTCP(nil, report(1, 28))
	require.ErrorIs(t, err, ErrExhausted)
	tx, _ = pair(t, AESCM128SHA80)
	tx.pion().SetIndex(1, maxRTCPIndex)
	_, err = tx.ProtectRTCP(nil, report(1, 28))
	require.ErrorIs(t, err, ErrExhausted)
}

// TestAgainstPion sends random traffic of several streams, with jumps, repeats
// and old packets, through a Sender whose context is replaced all the time,
// and through a plain pion context. They must agree byte for byte, and so must
// the two receivers' verdicts, except where their windows differ by design.
func TestAgainstPion(t *testing.T) {
	for _, s := range Suites() {
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, 1))
			tx, rx := pair(t, s)
			oracle, err := tx.keys.context()
			require.NoError(t, err)
			newest := [4]int{r.IntN(65536), r.IntN(65536), r.IntN(65536), r.IntN(65536)}
			opened := map[[2]int]bool{}
			for step := range 4000 {
				i := r.IntN(len(newest))
				seq := newest[i]
				switch r.IntN(10) {
				case 0:
					seq -= r.IntN(min(seq+1, 900))
				case 1:
					newest[i] += r.IntN(20_000)
					seq = newest[i]
				default:
					newest[i]++
					seq = newest[i]
				}
				plain := packet(uint32(i), uint16(seq), 40)
				got, err := tx.ProtectRTP(nil, plain)
				require.NoError(t, err)
				want, err := oracle.EncryptRTP(nil, plain, nil)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s seed %d step %d", s, seed, step)
				if roc, _ := oracle.ROC(uint32(i)); tx.streams[uint32(i)].tracker.highest>>16 != uint64(roc) {
					t.Fatalf("rollover counter %d, want %d", tx.streams[uint32(i)].tracker.highest>>16, roc)
				}

				_, err = rx.UnprotectRTP(nil, got)
				if opened[[2]int{i, seq}] {
					require.ErrorIs(t, err, ErrReplay)
				} else {
					require.NoError(t, err, "%s seed %d step %d", s, seed, step)
					opened[[2]int{i, seq}] = true
				}
				if r.IntN(3) == 0 { // a stream of no interest makes generations pass
					b, _ := tx.ProtectRTP(nil, packet(77, uint16(step), 40))
					_, err = rx.UnprotectRTP(nil, b)
					require.NoError(t, err)
					tx.Forget(77)
					rx.Forget(77)
				}
			}
			replaced := s == AESCM128SHA80 || s == AESCM128SHA32 // else there is no context
			require.Equal(t, replaced, rx.generation > 10)
			require.Equal(t, replaced, tx.generation > 10)
		}
	}
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, s := range Suites() {
		tx, rx := pair(t, s)
		plain := packet(1, 0, 1200)
		buf := make([]byte, 0, 1500)
		seq := uint16(0)
		measure := func(f func()) float64 { return testing.AllocsPerRun(200, f) }

		require.Zero(t, measure(func() {
			seq++
			binary.BigEndian.PutUint16(plain[2:], seq)
			_, _ = tx.ProtectRTP(buf, plain)
		}), "%s protect", s)
		require.Zero(t, measure(func() {
			seq++
			binary.BigEndian.PutUint16(plain[2:], seq)
			out, _ := tx.ProtectRTP(buf, plain)
			if _, err := rx.UnprotectRTP(out, out); err != nil {
				panic(err)
			}
		}), "%s both, in place", s)
		sealed, _ := tx.ProtectRTP(nil, plain)
		require.Zero(t, measure(func() { _, _ = rx.UnprotectRTP(buf, sealed) }), "%s replay", s)

		rr := report(1, 80)
		protect := measure(func() { _, _ = tx.ProtectRTCP(buf, rr) })
		both := measure(func() {
			out, _ := tx.ProtectRTCP(buf, rr)
			if _, err := rx.UnprotectRTCP(out, out); err != nil {
				panic(err)
			}
		})
		require.Zero(t, protect, "%s protect RTCP", s)
		require.Zero(t, both, "%s both RTCP", s)
	}
}
