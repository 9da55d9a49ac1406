package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/srtp"
)

// BenchmarkFanOut is what the loop does for each packet that it sends, without
// the kernel: bursts of four packets of 1,100 bytes to 300 Consumers. Between
// bursts of a stream of 200 packets/s the caches are somebody else's: "cold"
// has them emptied.
func BenchmarkFanOut(b *testing.B) {
	const consumers, burst = 300, 4
	for _, name := range []string{"warm", "cold"} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, consumers, srtp.AEADAES128GCM)
			for _, s := range r.consumed {
				s.buf = r.consumed[0].buf // as a driver has one memory for all
			}
			r.send(true)
			other := make([]byte, 64<<20)
			one := func() time.Duration {
				if name == "cold" {
					for i := 0; i < len(other); i += 64 {
						other[i]++
					}
				}
				r.turn(20 * time.Millisecond)
				for range burst {
					r.seq++
					p := rtp.AppendHeader(r.scratch[:0], rtp.Header{
						PayloadType: 101, SequenceNumber: r.seq, Timestamp: 450 * uint32(r.seq), SSRC: rigSSRC,
					}, rigElements)
					r.payload[0], r.payload[1] = 0x10, 1
					sealed, err := r.tx.ProtectRTP(p[:0], append(p, r.payload...))
					if err != nil {
						b.Fatal(err)
					}
					r.m.HandleUDP(r.in, r.from, sealed)
				}
				start := time.Now()
				r.m.EndOfBatch()
				return time.Since(start)
			}
			for range 150 { // stores and maps reach their size
				one()
			}
			var spent []time.Duration
			for b.Loop() {
				spent = append(spent, one())
			}
			slices.Sort(spent) // the median, so that a busy machine disturbs less
			b.ReportMetric(float64(spent[len(spent)/2])/(consumers*burst), "ns/packet")
			b.ReportMetric(0, "ns/op")
		})
	}
}
