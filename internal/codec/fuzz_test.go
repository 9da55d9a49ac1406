package codec

import (
	"bytes"
	"testing"

	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// parse reads one payload of any codec and checks what holds for all.
func parse(t *testing.T, k Kind, b, dd []byte) (info Info) {
	before := bytes.Clone(b)
	info.SpatialLayer = 99
	if !Parse(k, b, dd, &info) && info != (Info{}) {
		t.Fatalf("refused, but found %+v", info)
	}
	if !bytes.Equal(before, b) {
		t.Fatal("Parse wrote")
	}
	if at := int(info.PictureIDAt); (at != 0) != info.HasPictureID || at >= max(1, len(b)) {
		t.Fatalf("picture id at %d of %d", at, len(b))
	}
	if at := int(info.TL0PICIDXAt); (at != 0) != info.HasTL0PICIDX || at >= max(1, len(b)) || at > 0 && b[at] != info.TL0PICIDX {
		t.Fatalf("TL0PICIDX at %d of %d", at, len(b))
	}
	if info.SpatialLayer > 7 || info.TemporalLayer > 7 || info.PictureID>>info.PictureIDBits != 0 {
		t.Fatalf("%+v", info)
	}
	return info
}

func FuzzVP8(f *testing.F) {
	for _, s := range []string{"90e080640a201002", "90e06b11201102", "10110200", "9040ff11", "9010e511", "80e0807218201102"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info := parse(t, VP8, b, nil)
		wide := append(bytes.Clone(b), 0)
		n := WidenVP8(wide)
		wide = wide[:len(b)+n]
		if (n == 1) != (info.PictureIDBits == 7) {
			t.Fatalf("%d bits, %d bytes more", info.PictureIDBits, n)
		}
		got := parse(t, VP8, wide, nil)
		want := info
		if n == 1 {
			want.PictureIDBits = 15
			if want.HasTL0PICIDX {
				want.TL0PICIDXAt++
			}
		}
		if got != want {
			t.Fatalf("%x became %x", b, wide)
		}
		got.RewriteVP8(wide, 12345, 67)
		again := parse(t, VP8, wide, nil)
		if got.HasPictureID {
			got.PictureID = 12345
		}
		if got.HasTL0PICIDX {
			got.TL0PICIDX = 67
		}
		if again != got {
			t.Fatalf("rewritten as %x: %+v, want %+v", wide, again, got)
		}
	})
}

func FuzzVP9(f *testing.F) {
	for _, s := range []string{"0c", "acffbd10fb5a", "ecffbe50fb5a", "a4050000", "b805e2"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { parse(t, VP9, b, nil) })
}

func FuzzH264(f *testing.F) {
	for _, s := range []string{"675a", "780004674200aa000268ce5a", "7c87", "7d870000", "78000265ce000467"} {
		f.Add(unhex(f, s), []byte(nil))
	}
	f.Add([]byte{0x61}, unhex(f, structureL2T2))
	f.Fuzz(func(t *testing.T, b, dd []byte) { parse(t, H264, b, dd) })
}

func FuzzOpus(f *testing.F) {
	for _, s := range []string{"78", "7a55", "7b", "f8fffe"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { parse(t, Opus, b, nil) })
}

func FuzzDependency(f *testing.F) {
	f.Add(unhex(f, structureL2T2), []byte{0xc3, 0, 3})
	for _, n := range []int{1, 2, 3} {
		d := rtptest.Dependency{Start: true, Structure: true, Spatial: n, Temporal: n}
		f.Add(d.Value(), []byte{0xc0, 0, 9, 0b01000_010, 0b1_0000000})
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		parse(t, AV1, nil, first)
		var s Structure
		for _, b := range [][]byte{first, second, first} {
			var info Info
			before := s
			ok := ParseDependency(b, &s, &info)
			if !ok && (s != before || info != (Info{})) {
				t.Fatalf("%x was refused, but changed something", b)
			}
			if ok && (!info.HasLayers || info.KeyFrame != info.HasStructure || s.Templates == 0) {
				t.Fatalf("%x gave %+v, %+v", b, info, s)
			}
			if s.Templates > maxTemplates || s.Targets > 32 || s.Chains > s.Targets {
				t.Fatalf("%x gave %+v", b, s)
			}
			for id := range 256 {
				if spatial, temporal, ok := s.Layers(uint8(id)); ok && (spatial > s.MaxSpatialLayer || temporal > s.MaxTemporalLayer) {
					t.Fatalf("%x: template %d is of layers %d, %d", b, id, spatial, temporal)
				}
			}
		}
	})
}
