package srtp

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzUnprotect feeds bytes that nobody protected, and then bytes that a peer
// with the key did protect: neither may panic or disturb an honest stream.
func FuzzUnprotect(f *testing.F) {
	tx, err := NewSender(AEADAES128GCM, master(AEADAES128GCM, 1))
	require.NoError(f, err)
	rtp, err := tx.ProtectRTP(nil, packet(1, 5, 80))
	require.NoError(f, err)
	rtcp, err := tx.ProtectRTCP(nil, report(1, 28))
	require.NoError(f, err)
	f.Add(uint8(0), rtp)
	f.Add(uint8(1), rtcp)
	f.Add(uint8(2), packet(2, 1, 60))
	f.Add(uint8(3), report(2, 40))
	cryptex := packet(3, 1, 60)
	cryptex[12], cryptex[13] = 0xc0, 0xde
	f.Add(uint8(0), cryptex)
	f.Add(uint8(1), bytes.Repeat([]byte{0xbf}, 70))
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		s := Suites()[n&3]
		tx, rx := pair(t, s)
		in := func() []byte { return append(make([]byte, 0, len(b)+MaxOverhead), b...) }
		_, _ = rx.UnprotectRTP(nil, in())
		_, _ = rx.UnprotectRTCP(nil, in())
		x := in()
		_, _ = rx.UnprotectRTP(x, x)
		x = in()
		_, _ = rx.UnprotectRTCP(x, x)
		if rx.Streams() > 0 && s != AEADAES128GCM {
			t.Fatal("accepted what nobody protected")
		}
		if sealed, err := tx.ProtectRTP(nil, in()); err == nil {
			rx.Forget(rtpSSRC(b))
			got, err := rx.UnprotectRTP(sealed, sealed)
			if err == nil && !bytes.Equal(got, b) {
				t.Fatalf("%x became %x", b, got)
			}
		}
		if sealed, err := tx.ProtectRTCP(nil, in()); err == nil {
			rx.Forget(rtcpSSRC(b))
			got, err := rx.UnprotectRTCP(sealed, sealed)
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%x became %x, %v", b, got, err)
			}
		}
		want := packet(99, 1, 50)
		sealed, err := tx.ProtectRTP(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) >= 12 && rtpSSRC(b) == 99 {
			return // it may have used the index of our honest packet
		}
		got, err := rx.UnprotectRTP(nil, sealed)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("honest packet: %v", err)
		}
	})
}
