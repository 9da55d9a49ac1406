package codec

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// structureL2T2 is the first descriptor of the recording 08-av1-L2T2.
const structureL2T2 = "c00000 800367aa220a0200"

func TestDependency(t *testing.T) {
	var s Structure
	var info Info
	require.False(t, ParseDependency(unhex(t, "c30003"), &s, &info), "no structure yet")
	assert.Zero(t, info)

	require.True(t, ParseDependency(unhex(t, structureL2T2), &s, &info))
	all := layerBit(0, 0) | layerBit(0, 1) | layerBit(1, 0) | layerBit(1, 1)
	want := Info{
		KeyFrame: true, HasStructure: true, HasDependency: true, HasLayers: true, StartOfFrame: true, EndOfFrame: true,
		Targets: all, NeededBy: all,
	}
	assert.Empty(t, cmp.Diff(want, info))
	assert.Equal(t, []uint8{4, 4, 0, 1, 1}, []uint8{s.Templates, s.Targets, s.Chains, s.MaxSpatialLayer, s.MaxTemporalLayer})

	// Those that follow it in the recording.
	for _, c := range []struct {
		in                string
		frame             uint16
		spatial, temporal uint8
		neededBy          uint64
	}{
		{"c20001", 1, 1, 0, layerBit(1, 0) | layerBit(1, 1)},
		{"c10002", 2, 0, 1, layerBit(0, 1) | layerBit(1, 1)},
		{"c30003", 3, 1, 1, layerBit(1, 1)},
		{"c00004", 4, 0, 0, all},
	} {
		require.True(t, ParseDependency(unhex(t, c.in), &s, &info), c.in)
		assert.Empty(t, cmp.Diff(Info{
			HasDependency: true, HasLayers: true, StartOfFrame: true, EndOfFrame: true, SpatialLayer: c.spatial,
			TemporalLayer: c.temporal, Template: uint8(2*c.spatial + c.temporal), FrameNumber: c.frame,
			NeededBy: c.neededBy, Targets: all,
		}, info), c.in)
	}
	before, info2 := s, info
	assert.False(t, ParseDependency(unhex(t, "c40005"), &s, &info), "no such template")
	assert.Equal(t, before, s)
	assert.Equal(t, info2, info)

	// A packet in the middle of a frame.
	require.True(t, ParseDependency(unhex(t, "01 0102"), &s, &info))
	assert.False(t, info.StartOfFrame || info.EndOfFrame || info.KeyFrame)
	assert.EqualValues(t, 0x102, info.FrameNumber)
}

func TestDependencyActiveTargets(t *testing.T) {
	var s Structure
	var info Info
	require.True(t, ParseDependency(unhex(t, structureL2T2), &s, &info))
	assert.False(t, info.HasActiveTargets)
	// The bit of the mask, three for custom parts, four targets.
	require.True(t, ParseDependency([]byte{0xc0, 0, 9, 0b01000_010, 0b1_0000000}, &s, &info))
	assert.True(t, info.HasActiveTargets)
	assert.EqualValues(t, 0b0101, info.ActiveTargets)
	assert.False(t, info.KeyFrame)
	assert.False(t, ParseDependency([]byte{0xc0, 0, 9, 0b01000_010}, &s, &info), "half a mask")
}

// Structures of all sizes are read as they were written.
func TestDependencyStructures(t *testing.T) {
	for spatial := 1; spatial <= 3; spatial++ {
		for temporal := 1; temporal <= 3; temporal++ {
			d := rtptest.Dependency{Start: true, Structure: true, Spatial: spatial, Temporal: temporal, Frame: 77}
			var s Structure
			var info Info
			require.True(t, ParseDependency(d.Value(), &s, &info), "L%dT%d", spatial, temporal)
			assert.EqualValues(t, spatial*temporal, s.Templates)
			assert.EqualValues(t, spatial-1, s.MaxSpatialLayer)
			assert.EqualValues(t, temporal-1, s.MaxTemporalLayer)
			d.Structure = false
			for d.SpatialLayer = range spatial {
				for d.TemporalLayer = range temporal {
					require.True(t, ParseDependency(d.Value(), &s, &info))
					assert.EqualValues(t, d.SpatialLayer, info.SpatialLayer)
					assert.EqualValues(t, d.TemporalLayer, info.TemporalLayer)
				}
			}
		}
	}
}

// All optional parts: offset of the template ids, two targets, differences,
// chains, resolutions.
func TestDependencyFullStructure(t *testing.T) {
	bits := "1" + "1" + "000101" + "0000000000000111" + // start, end, template 5, frame 7
		"1" + "1" + "000" + // structure, active targets
		"000101" + "00001" + // offset 5, two targets
		"01" + "11" + // templates: T0, T1
		"10" + "10" + "00" + "01" + // target indications
		"0" + "1" + "0000" + "1" + "0011" + "0" + // differences: none; 1 and 4
		"10" + // one chain (of 0 to 2: 0 is "0", 1 is "10", 2 is "11")
		"0001" + "0010" + // chain differences; the protection of one chain takes no bits
		"1" + "0000010011111111" + "0000001011001111" + // 1280 x 720
		"11" // active targets
	var b []byte
	for i, c := range bits {
		if i%8 == 0 {
			b = append(b, 0)
		}
		b[i/8] |= byte(c-'0') << (7 - i%8)
	}
	var s Structure
	var info Info
	require.True(t, ParseDependency(b, &s, &info))
	assert.Equal(t, []uint8{2, 2, 1, 0, 1}, []uint8{s.Templates, s.Targets, s.Chains, s.MaxSpatialLayer, s.MaxTemporalLayer})
	assert.True(t, info.KeyFrame)
	assert.EqualValues(t, 3, info.ActiveTargets)
	_, temporal, ok := s.Layers(6)
	assert.True(t, ok)
	assert.EqualValues(t, 1, temporal)
	for _, template := range []uint8{0, 4, 7, 63} {
		_, _, ok = s.Layers(template)
		assert.False(t, ok, "template %d", template)
	}
	// Cut anywhere it is refused, or it is no structure at all.
	for n := range len(b) {
		var s2 Structure
		assert.False(t, ParseDependency(b[:n], &s2, &info), "%d bytes", n)
	}
}

func TestDependencyMalformed(t *testing.T) {
	var info Info
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"nil", nil},
		{"two bytes", []byte{0xc0, 0}},
		{"256 bytes", make([]byte, 256)},
		{"structure cut", unhex(t, structureL2T2)[:6]},
		{"template ids of another range", append([]byte{0xc9}, unhex(t, structureL2T2)[1:]...)},
		{"more layers than there are", append([]byte{0xc0, 0, 0, 0x80, 0x00, 0x6a}, 0xaa, 0xaa, 0xaa, 0xaa)},
	} {
		assert.False(t, ParseDependency(c.b, nil, &info), c.name)
		var s Structure
		assert.False(t, ParseDependency(c.b, &s, &info), c.name)
		assert.Zero(t, s, c.name)
	}
	assert.True(t, ParseDependency([]byte{0xc0, 0, 1}, nil, &info), "without any structure")
	assert.False(t, info.HasLayers)
	assert.True(t, ParseDependency(make([]byte, 255), nil, &info))
}

func TestParseWithDependency(t *testing.T) {
	var info Info
	sps, slice := []byte{0x67, 1}, []byte{0x61, 1}
	structure, following := unhex(t, structureL2T2), []byte{0xc1, 0, 1}

	require.True(t, Parse(H264, slice, structure, &info))
	assert.True(t, info.KeyFrame, "the descriptor decides")
	require.True(t, Parse(H264, sps, following, &info))
	assert.False(t, info.KeyFrame, "the descriptor decides")
	require.True(t, Parse(H264, sps, []byte{1}, &info))
	assert.True(t, info.KeyFrame, "a malformed descriptor is as good as none")

	assert.False(t, Parse(AV1, slice, nil, &info))
	require.True(t, Parse(AV1, nil, following, &info))
	assert.False(t, info.KeyFrame)
	assert.EqualValues(t, 1, info.Template)
	require.True(t, Parse(AV1, nil, structure, &info))
	assert.True(t, info.KeyFrame)

	// VP8 and VP9 don't need it.
	require.True(t, Parse(VP8, []byte{0x10, 0x11}, structure, &info))
	assert.False(t, info.KeyFrame)
}
