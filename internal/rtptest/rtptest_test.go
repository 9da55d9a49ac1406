package rtptest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/mafalda-sfu/mafalda/internal/rtp"
)

// A recorder is a testing.TB that only remembers what was reported.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestCheck(t *testing.T) {
	h := rtp.Header{Marker: true, PayloadType: 100, SequenceNumber: 5, Timestamp: 6, SSRC: 7}
	b := Packet{Header: h, Extensions: []rtp.Element{{ID: 1, Value: []byte("m")}}, Payload: []byte{1, 2, 3}, Padding: 4}.Bytes()
	Check(t, b, SSRC(7), PayloadType(100), Seq(5), Timestamp(6), Marker(true), Header(h), HeaderLen(20), Padding(4),
		Profile(rtp.ProfileOneByte), Len(27), PayloadLen(3), Payload([]byte{1, 2, 3}), PayloadPrefix(1, 2),
		Extension(1, []byte("m")), HasExtension(1, 1), NoExtension(2))

	wrong := []Checker{
		SSRC(8), PayloadType(101), Seq(6), Timestamp(7), Marker(false), Header(rtp.Header{}), HeaderLen(12), Padding(0),
		Profile(0), Len(12), PayloadLen(7), Payload([]byte{1, 2}), PayloadPrefix(2), Extension(1, []byte("n")),
		Extension(2, nil), HasExtension(1, 2), HasExtension(2, 0), NoExtension(1),
	}
	r := &recorder{TB: t}
	Check(r, b, wrong...)
	assert.Len(t, r.errors, len(wrong), "%q", r.errors)
	assert.Equal(t, "SSRC = 7, want 8", r.errors[0])
}

func TestSource(t *testing.T) {
	s := Source{Header: rtp.Header{SSRC: 1, SequenceNumber: 65535, Timestamp: 10}, Step: 960}
	Check(t, s.Next(Opus(10)), Seq(65535), Timestamp(10), PayloadLen(10))
	Check(t, s.Next(OpusDTX()), Seq(0), Timestamp(970), PayloadLen(1))
	s.Skip(3)
	Check(t, s.Next(nil), Seq(4), Timestamp(10+5*960), PayloadLen(0))
}

func TestRTX(t *testing.T) {
	p := Packet{Header: rtp.Header{SequenceNumber: 0x0102, SSRC: 7}, Payload: []byte{9}}
	Check(t, p.RTX(8, 97, 1), SSRC(8), PayloadType(97), Seq(1), Payload([]byte{1, 2, 9}))
}

// The bytes are those of the generator of the recordings.
func TestPayloads(t *testing.T) {
	assert.Equal(t, []byte{0x90, 0xe0, 0x80, 0x64, 0x0a, 0x20, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00},
		VP8{KeyFrame: true, PictureIDBits: 15, PictureID: 100, HasTL0PICIDX: true, TL0PICIDX: 10, HasLayers: true, SwitchingUp: true}.Payload())
	assert.Equal(t, []byte{0x90, 0xe0, 0x6b, 0x11, 0x20, 0x11, 0x02, 0x00},
		VP8{PictureIDBits: 7, PictureID: 107, HasTL0PICIDX: true, TL0PICIDX: 17, HasLayers: true, SwitchingUp: true}.Payload())
	assert.Equal(t, []byte{0x10, 0x11, 0x02, 0x00}, VP8{}.Payload())
	assert.Equal(t, []byte{0xac, 0xff, 0xbd, 0x13, 0xfb},
		VP9{
			KeyFrame: true, Start: true, End: true, PictureIDBits: 15, PictureID: 0x7fbd, HasLayers: true, SpatialLayer: 1,
			SwitchingUp: true, InterLayer: true, TL0PICIDX: 0xfb,
		}.Payload()[:5])
	assert.Equal(t, []byte{0xc0, 0x00, 0x00, 0x80, 0x03, 0x67, 0xaa, 0x22, 0x0a, 0x02, 0x00},
		Dependency{Start: true, End: true, Structure: true, Spatial: 2, Temporal: 2}.Value())
	assert.Equal(t, []byte{0xc3, 0x00, 0x03},
		Dependency{Start: true, End: true, SpatialLayer: 1, TemporalLayer: 1, Frame: 3, Spatial: 2, Temporal: 2}.Value())
	assert.Len(t, H264Key(100), 100)
	assert.Len(t, H264Key(0), 15)
	assert.Len(t, H264Delta(60), 60)
	assert.Len(t, H264IDR(0), 1)
	assert.Len(t, VP8{Size: 1000}.Payload(), 1000)
}
