package srtp

import (
	"encoding/binary"
	"testing"

	psrtp "github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// header returns an RTP header with so many CSRCs and an extension.
func header(seq uint16, csrcs uint8, extension []byte) []byte {
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
	return head
}

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

		head := header(seq, csrcs, extension)
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

// FuzzOpen compares our opening with Pion's, of packets as they were sent and of
// such with a bit changed or the end missing, in place and apart.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), uint16(1), uint8(0), []byte{1, 2, 3, 4}, []byte("payload"), uint16(0), uint8(0))
	f.Add(uint8(1), uint16(65535), uint8(2), []byte(nil), make([]byte, 1200), uint16(100), uint8(0))
	f.Add(uint8(2), uint16(9), uint8(15), make([]byte, 100), []byte(nil), uint16(0), uint8(1))
	f.Add(uint8(0), uint16(9), uint8(0), make([]byte, 8), []byte{1}, uint16(12*8+7), uint8(17))
	f.Fuzz(func(t *testing.T, suite uint8, seq uint16, csrcs uint8, extension, payload []byte, bit uint16, cut uint8) {
		s := Suites()[suite&3]
		p, _ := s.profile()
		m := master(s, 3)
		context := func() *psrtp.Context {
			c, err := psrtp.CreateContext(m[:p.key], m[p.key:], p.pion)
			require.NoError(t, err)
			return c
		}
		head := header(seq, csrcs, extension)
		sealed, err := context().EncryptRTP(nil, append(head, payload...), nil)
		require.NoError(t, err)
		if at := int(bit / 8); bit > 0 && at < len(sealed) {
			sealed[at] ^= 1 << (bit & 7)
		}
		sealed = sealed[:max(len(sealed)-int(cut), 0)]
		want, wantErr := context().DecryptRTP(nil, sealed, nil)

		for _, inPlace := range []bool{false, true} {
			rx, err := NewReceiver(s, m)
			require.NoError(t, err)
			b := append(make([]byte, 0, len(sealed)+1), sealed...)
			var dst []byte
			if inPlace {
				dst = b
			}
			got, err := rx.UnprotectRTP(dst, b)
			require.Equal(t, wantErr == nil, err == nil, "in place %v: %v, Pion's %v", inPlace, err, wantErr)
			if err != nil {
				require.Zero(t, rx.Streams(), "left a trace")
				continue
			}
			require.Equal(t, want, got)
			_, err = rx.UnprotectRTP(nil, sealed)
			if !inPlace {
				require.ErrorIs(t, err, ErrReplay)
			}
		}
	})
}

// TestCryptex refuses what has encrypted extensions.
func TestCryptex(t *testing.T) {
	for _, profile := range []uint16{0xc0de, 0xc2de} {
		tx, rx := pair(t, AEADAES128GCM)
		plain := packet(1, 1, 100)
		binary.BigEndian.PutUint16(plain[12:], profile)
		sealed, err := tx.ProtectRTP(nil, plain)
		require.NoError(t, err)
		_, err = rx.UnprotectRTP(nil, sealed)
		require.ErrorIs(t, err, ErrMalformed)
		require.Zero(t, rx.Streams())
	}
}
