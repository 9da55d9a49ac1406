package layerfilter

import (
	"testing"

	"github.com/mafalda-sfu/mafalda/internal/codec"
)

// FuzzFilter plays streams of small packets and changes of targets: nothing above
// the current layers goes on, and nothing above the announced ones.
func FuzzFilter(f *testing.F) {
	f.Add(uint8(2), []byte("\x00\x02\x90\xe0\x80\x64\x0a\x20\x10\x02\x00\x00\x90\xe0\x80\x65\x0a\x60\x10\x02"))
	f.Add(uint8(3), []byte("\x02\x02\xac\xff\xbd\x10\xfb\x5a\x00\x00\x01\x01\xec\xff\xbe\x50\xfb\x5a\x00\x00"))
	f.Add(uint8(7), []byte("\x02\x02\xac\xff\xbd\x10\xfb\x5a\x00\x00\x01\x01\xec\xff\xbe\x50\xfb\x5a\x00\x00"))
	f.Add(uint8(5), []byte("\x02\x02\xc0\x00\x00\x80\x03\x67\xaa\x22\x0a\x02\x00\x00\x00\xc3\x00\x03"))
	f.Fuzz(func(t *testing.T, how uint8, b []byte) {
		kind := []codec.Kind{codec.VP8, codec.VP9, codec.H264, codec.AV1}[how%4]
		filter := New(kind, 3, 3, how&4 != 0)
		var s codec.Structure
		for len(b) > 12 {
			filter.SetTarget(int8(b[0]%4)-1, int8(b[1]%4)-1)
			if b[0]&0x80 != 0 {
				filter.Sync()
			}
			p := b[2:12]
			b = b[12:]
			var info codec.Info
			codec.ParseStream(kind, p, p, &s, &info)
			d := filter.Process(&info)
			if !d.Forward && d != (Decision{}) {
				t.Fatalf("%+v", d)
			}
			if d.PictureID>>15 != 0 {
				t.Fatal("picture id of more than 15 bits")
			}
			if spatial, temporal := filter.Current(); spatial < -1 || spatial > 2 || temporal < -1 || temporal > 7 {
				t.Fatalf("current layers %d, %d", spatial, temporal)
			}
		}
	})
}
