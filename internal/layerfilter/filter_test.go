package layerfilter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/codec"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// vp8 is what a packet of a stream with three temporal layers says.
func vp8(picture uint16, tl0, temporal uint8, up bool) codec.Info {
	return codec.Info{
		HasPictureID: true, PictureIDBits: 15, PictureID: picture & 0x7fff,
		HasTL0PICIDX: true, TL0PICIDX: tl0, HasLayers: true, TemporalLayer: temporal, SwitchingUp: up,
	}
}

func vp9(picture uint16, spatial, temporal uint8) codec.Info {
	return codec.Info{
		HasPictureID: true, PictureIDBits: 15, PictureID: picture & 0x7fff, HasLayers: true, SpatialLayer: spatial,
		TemporalLayer: temporal, StartOfFrame: true, EndOfFrame: true, SwitchingUp: true, InterPicture: true,
	}
}

// started returns a Filter whose current layers are the target ones.
func started(kind codec.Kind, spatial, temporal int, ksvc bool, s, t int8) *Filter {
	f := New(kind, spatial, temporal, ksvc)
	f.SetTarget(s, t)
	f.SetCurrent(s, t)
	return f
}

func pictures(f *Filter, infos ...codec.Info) (out []int) {
	for i := range infos {
		if d := f.Process(&infos[i]); !d.Forward {
			out = append(out, -1)
		} else {
			out = append(out, int(d.PictureID))
		}
	}
	return out
}

func TestVP8KeepsPictureIDsContiguous(t *testing.T) {
	f := started(codec.VP8, 1, 3, false, 0, 0)
	assert.Equal(t, []int{1, -1, -1, -1, 2, 2}, pictures(f,
		vp8(100, 7, 0, false), vp8(101, 7, 2, true), vp8(101, 7, 2, true), vp8(102, 7, 1, true),
		vp8(103, 8, 0, false), vp8(103, 8, 0, false)))

	info := vp8(104, 9, 0, false)
	d := f.Process(&info)
	assert.Equal(t, Decision{Forward: true, HasPicture: true, PictureID: 3, TL0PICIDX: 3}, d, "dropped pictures took no TL0PICIDX")
}

func TestVP8AroundTheWrap(t *testing.T) {
	f := started(codec.VP8, 1, 3, false, 0, 0)
	assert.Equal(t, []int{1, 2, -1, 3}, pictures(f,
		vp8(32767, 255, 0, false), vp8(0, 0, 0, false), vp8(1, 0, 1, true), vp8(2, 1, 0, false)))
}

func TestVP8LatePackets(t *testing.T) {
	f := started(codec.VP8, 1, 3, false, 0, 0)
	assert.Equal(t, []int{1, 3, -1, 2, 4}, pictures(f,
		vp8(10, 1, 0, false), vp8(12, 2, 0, false), vp8(11, 1, 1, true), vp8(11, 1, 0, false), vp8(13, 3, 0, false)))
	_, temporal := f.Current()
	assert.Zero(t, temporal)
}

func TestVP8MovesUpWhereItMay(t *testing.T) {
	f := started(codec.VP8, 1, 3, false, 0, 0)
	f.SetTarget(0, 2)
	current := func() int8 { _, c := f.Current(); return c }
	assert.Equal(t, []int{1, -1, 2}, pictures(f, vp8(1, 1, 0, false), vp8(2, 1, 2, false), vp8(3, 1, 1, true)))
	assert.EqualValues(t, 1, current())
	assert.Equal(t, []int{3}, pictures(f, vp8(4, 1, 2, true)))
	assert.EqualValues(t, 2, current())
	f.SetTarget(0, 1)
	assert.Equal(t, []int{4, -1, 5, 6}, pictures(f, vp8(5, 2, 0, false), vp8(6, 2, 2, true), vp8(7, 2, 1, false), vp8(8, 3, 0, false)))
	assert.EqualValues(t, 1, current())
}

// A picture half of which was left out stays out when the target rises.
func TestVP8NoHalfPictures(t *testing.T) {
	f := started(codec.VP8, 1, 2, false, 0, 0)
	assert.Equal(t, []int{1, -1}, pictures(f, vp8(1, 1, 0, false), vp8(2, 1, 1, true)))
	f.SetTarget(0, 1)
	assert.Equal(t, []int{-1, 2, 3}, pictures(f, vp8(2, 1, 1, true), vp8(3, 2, 0, false), vp8(4, 2, 1, true)))
}

func TestVP8ContinuesAfterSync(t *testing.T) {
	f := started(codec.VP8, 1, 1, false, 0, 0)
	assert.Equal(t, []int{1, 2}, pictures(f, vp8(1000, 5, 0, false), vp8(1001, 6, 0, false)))
	f.Sync()
	info := vp8(20000, 200, 0, false)
	assert.Equal(t, Decision{Forward: true, HasPicture: true, PictureID: 3, TL0PICIDX: 3}, f.Process(&info))
}

func TestVP8WithoutNumbers(t *testing.T) {
	f := started(codec.VP8, 1, 1, false, 0, 0)
	assert.Equal(t, Decision{Forward: true}, f.Process(&codec.Info{}))
	assert.Equal(t, Decision{Forward: true}, f.Process(&codec.Info{HasPictureID: true, PictureIDBits: 15, PictureID: 5}))
}

func TestVP9AroundTheWrap(t *testing.T) {
	f := started(codec.VP9, 1, 3, false, 0, 0)
	assert.Equal(t, []int{0, 0, -1, 0}, pictures(f, vp9(32767, 0, 0), vp9(0, 0, 0), vp9(1, 0, 1), vp9(2, 0, 0)))

	f = started(codec.VP9, 3, 1, false, 0, 0)
	assert.Equal(t, []int{0, 0, -1, 0, -1}, pictures(f, vp9(32767, 0, 0), vp9(0, 0, 0), vp9(0, 1, 0), vp9(1, 0, 0), vp9(1, 2, 0)))
}

// Packets that come late are decided by what was current at their picture.
func TestVP9Unordered(t *testing.T) {
	f := started(codec.VP9, 3, 3, false, 2, 2)
	assert.Equal(t, []int{0, 0}, pictures(f, vp9(32760, 0, 0), vp9(32761, 2, 2)))
	f.SetTarget(0, 0)
	assert.Equal(t, []int{0, 0, -1}, pictures(f, vp9(32765, 0, 0), vp9(2, 0, 0), vp9(2, 1, 0)))
	assert.Equal(t, []int{0, 0, -1, -1, 0}, pictures(f,
		vp9(32762, 2, 2), vp9(32764, 1, 1), vp9(32766, 1, 0), vp9(0, 0, 1), vp9(1, 0, 0)))
	assert.Equal(t, []int{-1}, pictures(f, vp9(32759, 0, 0)), "before the first one")
	s, temporal := f.Current()
	assert.Equal(t, []int8{0, 0}, []int8{s, temporal})
}

// Who begins to count anew does not stay late for half of the numbers.
func TestVP9CountsAnew(t *testing.T) {
	f := started(codec.VP9, 1, 2, false, 0, 1)
	for id := range uint16(50_000) { // more than one cycle
		info := vp9(id, 0, uint8(id%2))
		require.True(t, f.Process(&info).Forward, id)
	}
	assert.Equal(t, []int{0, 0, 0, 0}, pictures(f, vp9(50_000-5000, 0, 0), vp9(50_000-4999, 0, 1), vp9(50_000-4998, 0, 0), vp9(50_000-4999, 0, 1)))
}

func TestNotAnnounced(t *testing.T) {
	f := started(codec.VP9, 2, 2, false, 1, 1)
	assert.Equal(t, []int{-1, -1, 0}, pictures(f, vp9(1, 2, 0), vp9(1, 0, 2), vp9(1, 1, 1)))
}

func TestNoTarget(t *testing.T) {
	for _, kind := range []codec.Kind{codec.VP8, codec.VP9, codec.H264, codec.AV1} {
		f := New(kind, 1, 1, false)
		assert.Equal(t, Decision{}, f.Process(&codec.Info{KeyFrame: true, StartOfFrame: true}), kind)
	}
}

func TestNeedsKeyFrame(t *testing.T) {
	for _, c := range []struct {
		name           string
		kind           codec.Kind
		ksvc           bool
		current, after int8
		want           bool
	}{
		{"VP9 up", codec.VP9, false, 0, 1, true},
		{"VP9 down", codec.VP9, false, 1, 0, false},
		{"VP9 same", codec.VP9, true, 1, 1, false},
		{"VP9 K-SVC down", codec.VP9, true, 1, 0, true},
		{"AV1 K-SVC down", codec.AV1, true, 1, 0, true},
		{"AV1 down", codec.AV1, false, 1, 0, false},
		{"VP8", codec.VP8, false, 0, 1, false},
	} {
		f := started(c.kind, 2, 2, c.ksvc, c.current, 0)
		f.SetTarget(c.after, 1)
		assert.Equal(t, c.want, f.NeedsKeyFrame(), c.name)
	}
}

func TestH264(t *testing.T) {
	f := New(codec.H264, 1, 3, false)
	f.SetTarget(0, 1)
	var got []bool
	for _, temporal := range []uint8{0, 2, 1, 2, 0} {
		got = append(got, f.Process(&codec.Info{TemporalLayer: temporal}).Forward)
	}
	assert.Equal(t, []bool{true, false, true, false, true}, got)
	_, current := f.Current()
	assert.EqualValues(t, 1, current)
}

// Between key frames a K-SVC stream of AV1 goes on without the lower spatial
// layers, which the first picture after a key frame refers to.
func TestAV1KSVC(t *testing.T) {
	var s codec.Structure
	f := New(codec.AV1, 2, 1, true)
	f.SetTarget(1, 0)
	frame := uint16(0)
	send := func(key bool, spatial, template int) Decision {
		d := rtptest.Dependency{Start: true, End: true, Frame: frame, Structure: key && spatial == 0, Spatial: 2, KeyOnly: true, Template: template}
		frame++
		var info codec.Info
		require.True(t, codec.ParseStream(codec.AV1, []byte{0}, d.Value(), &s, &info))
		require.EqualValues(t, spatial, info.SpatialLayer)
		return f.Process(&info)
	}
	key := func(spatial int) Decision { return send(true, spatial, 2*spatial) }
	delta := func(spatial int) Decision { return send(false, spatial, 2*spatial+1) }

	assert.Equal(t, []Decision{{Forward: true}, {Forward: true, Marker: true}}, []Decision{key(0), key(1)})
	assert.Equal(t, []Decision{{}, {Forward: true, Marker: true}}, []Decision{delta(0), delta(1)})
	f.SetTarget(0, 0)
	assert.Equal(t, []Decision{{}, {Forward: true, Marker: true}}, []Decision{delta(0), delta(1)}, "no key frame yet")
	assert.Equal(t, []Decision{{Forward: true, Marker: true}, {}}, []Decision{key(0), key(1)})
	assert.Equal(t, []Decision{{Forward: true, Marker: true}, {}}, []Decision{delta(0), delta(1)})
}

func TestAV1WithoutDescriptor(t *testing.T) {
	f := started(codec.AV1, 2, 2, false, 0, 0)
	assert.Equal(t, Decision{Forward: true}, f.Process(&codec.Info{}))
}

func TestAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	for _, kind := range []codec.Kind{codec.VP8, codec.VP9, codec.H264, codec.AV1} {
		f := started(kind, 3, 3, false, 1, 1)
		n := uint16(0)
		step := func() {
			n++
			info := vp9(n, uint8(n%3), uint8(n/3%3))
			info.TL0PICIDX, info.HasTL0PICIDX = uint8(n), true
			f.Process(&info)
		}
		for range 10_000 {
			step()
		}
		assert.Zero(t, testing.AllocsPerRun(1000, step), kind)
	}
}
