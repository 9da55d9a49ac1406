package srtp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	psrtp "github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// TestRTCPAEADAgainstPion compares our SRTCP with Pion's, in both directions
// and for every length.
func TestRTCPAEADAgainstPion(t *testing.T) {
	for _, s := range []Suite{AEADAES128GCM, AEADAES256GCM} {
		p, _ := s.profile()
		m := master(s, 9)
		ours, err := NewSender(s, m)
		require.NoError(t, err)
		receiver, err := NewReceiver(s, m)
		require.NoError(t, err)
		pion := func() *psrtp.Context {
			c, err := psrtp.CreateContext(m[:p.key], m[p.key:], p.pion)
			require.NoError(t, err)
			return c
		}
		theirs, theirReceiver := pion(), pion()
		random := rand.New(rand.NewPCG(1, 2))
		for n := 8; n < 400; n += 4 {
			plain := report(77, n)
			for i := 8; i < n; i++ {
				plain[i] = byte(random.Uint32())
			}
			binary.BigEndian.PutUint16(plain[2:], uint16(n/4-1))
			want, err := theirs.EncryptRTCP(nil, plain, nil)
			require.NoError(t, err)
			got, err := ours.ProtectRTCP(nil, plain)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s, %d bytes", s, n)

			back, err := theirReceiver.DecryptRTCP(nil, got, nil)
			require.NoError(t, err)
			require.Equal(t, plain, back)
			back, err = receiver.UnprotectRTCP(nil, want)
			require.NoError(t, err)
			require.Equal(t, plain, back)

			want[len(want)-4] &^= 0x80 // not encrypted, says it
			_, err = receiver.aead.open(nil, want)
			require.ErrorIs(t, err, ErrAuthentication)
		}
	}
}
