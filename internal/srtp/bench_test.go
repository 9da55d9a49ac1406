package srtp

import (
	"encoding/binary"
	"testing"
)

func BenchmarkProtectRTP(b *testing.B) {
	for _, s := range Suites() {
		b.Run(string(s), func(b *testing.B) {
			tx, _ := pair(b, s)
			plain := packet(1, 0, 1200)
			dst := make([]byte, 1300)
			b.SetBytes(1200)
			b.ReportAllocs()
			seq := uint16(0)
			for b.Loop() {
				seq++
				binary.BigEndian.PutUint16(plain[2:], seq)
				if _, err := tx.ProtectRTP(dst, plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkProtectRTPStreams alternates between 64 SSRCs.
func BenchmarkProtectRTPStreams(b *testing.B) {
	tx, _ := pair(b, AEADAES128GCM)
	plain := packet(1, 0, 1200)
	dst := make([]byte, 1300)
	b.SetBytes(1200)
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		n++
		binary.BigEndian.PutUint16(plain[2:], uint16(n>>6))
		binary.BigEndian.PutUint32(plain[8:], n&63)
		if _, err := tx.ProtectRTP(dst, plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnprotectRTP(b *testing.B) {
	for _, s := range Suites() {
		b.Run(string(s), func(b *testing.B) {
			const n = 4096
			tx, rx := pair(b, s)
			sealed := make([][]byte, n)
			for i := range sealed {
				sealed[i], _ = tx.ProtectRTP(nil, packet(1, uint16(i), 1200))
			}
			dst := make([]byte, 1300)
			b.SetBytes(1200)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == n {
					i = 0
					rx.Forget(1)
				}
				if _, err := rx.UnprotectRTP(dst, sealed[i]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
