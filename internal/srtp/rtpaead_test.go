package srtp

import (
	"encoding/binary"
	"testing"

	psrtp "github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// FuzzSeal compares our sealing with Pion's: any payload, any number of CSRCs,
// extensions of any length, in one piece and in two, in place and apart.
func FuzzSeal(f *testing.F) {
	f.Add(uint8(0), uint16(1), uint8(0), []byte{1, 2, 3, 4}, []byte("payload"))
	f.Add(uint8(1), uint16(65535), uint8(2), []byte(nil), make([]byte, 1200))
	f.Add(uint8(2), uint16(9), uint8(15), make([]byte, 100), []byte(nil))
	f.Fuzz(func(t *testing.T, suite uint8, seq uint16, csrcs uint8, extension, payload []byte) {
		s := Suites()[suite&3]
		p, _ := s.profile()
		m := master(s, 3)
		oracle, err := psrtp.CreateContext(m[:p.key], m[p.key:], p.pion)
		require.NoError(t, err)

		head := make([]byte, rtpHeaderLen+4*int(csrcs&15))
		head[0] = 0x80 | csrcs&15
		head[1] = 96
		binary.BigEndian.PutUint16(head[2:], seq)
		binary.BigEndian.PutUint32(head[8:], 0x12345678)
		if extension = extension[:len(extension)&^3]; len(extension) > 0 && len(extension) < 1<<12 {
			head[0] |= 0x10
			head = append(head, 0x01, 0x23, byte(len(extension)>>10), byte(len(extension)>>2)) // RFC 3550's own form
			head = append(head, extension...)
		}
		plain := append(head[:len(head):len(head)], payload...)
		want, err := oracle.EncryptRTP(nil, plain, nil)
		require.NoError(t, err)

		room := func() []byte { return make([]byte, len(plain)+MaxOverhead) }
		sender := func() *Sender {
			tx, err := NewSender(s, m)
			require.NoError(t, err)
			return tx
		}
		got, err := sender().ProtectRTP(nil, plain)
		require.NoError(t, err)
		require.Equal(t, want, got, "apart")

		b := room()
		copy(b, plain)
		got, err = sender().ProtectRTP(b, b[:len(plain)])
		require.NoError(t, err)
		require.Equal(t, want, got, "in place")
		require.Same(t, &b[0], &got[0])

		b = room()
		copy(b, head)
		got, err = sender().SealRTP(b, len(head), payload)
		require.NoError(t, err)
		require.Equal(t, want, got, "in two pieces")

		b = room()
		n := copy(b, plain)
		got, err = sender().SealRTP(b, len(head), b[len(head):n])
		require.NoError(t, err)
		require.Equal(t, want, got, "in two pieces, in place")
		require.Same(t, &b[0], &got[0])
	})
}
