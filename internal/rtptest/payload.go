package rtptest

import "encoding/binary"

// fill lengthens b to size bytes.
func fill(b []byte, size int) []byte {
	for len(b) < size {
		b = append(b, 0x5a)
	}
	return b
}

func bit(v bool, mask byte) byte {
	if v {
		return mask
	}
	return 0
}

func appendPictureID(b []byte, bits int, id uint16) []byte {
	if bits == 15 {
		return append(b, 0x80|byte(id>>8), byte(id))
	}
	return append(b, byte(id&0x7f))
}

// A VP8 describes a VP8 payload. The zero value is the start of a delta frame
// without extended descriptor.
type VP8 struct {
	KeyFrame      bool
	Continued     bool // not the first packet of its frame
	PictureIDBits int  // 7 or 15; 0 for no picture id
	PictureID     uint16
	HasTL0PICIDX  bool
	TL0PICIDX     uint8
	HasLayers     bool
	TemporalLayer uint8
	SwitchingUp   bool
	Size          int // of the payload, if that is more than it needs
}

// Payload returns the payload in memory of its own.
func (v VP8) Payload() []byte {
	b := []byte{bit(!v.Continued, 0x10)}
	if v.PictureIDBits != 0 || v.HasTL0PICIDX || v.HasLayers {
		b[0] |= 0x80
		b = append(b, bit(v.PictureIDBits != 0, 0x80)|bit(v.HasTL0PICIDX, 0x40)|bit(v.HasLayers, 0x20))
	}
	if v.PictureIDBits != 0 {
		b = appendPictureID(b, v.PictureIDBits, v.PictureID)
	}
	if v.HasTL0PICIDX {
		b = append(b, v.TL0PICIDX)
	}
	if v.HasLayers {
		b = append(b, v.TemporalLayer<<6|bit(v.SwitchingUp, 0x20))
	}
	b = append(b, 0x10|bit(!v.KeyFrame, 0x01), 0x02, 0x00)
	if v.KeyFrame {
		b = append(b, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00)
	}
	return fill(b, v.Size)
}

// A VP9 describes a VP9 payload in non-flexible mode. The zero value is the
// middle of a delta frame without picture id and layers.
type VP9 struct {
	KeyFrame      bool // not predicted from another picture
	Start, End    bool // of the frame of its spatial layer
	PictureIDBits int  // 7 or 15; 0 for no picture id
	PictureID     uint16
	HasLayers     bool
	SpatialLayer  uint8
	TemporalLayer uint8
	SwitchingUp   bool
	InterLayer    bool
	TL0PICIDX     uint8 // when HasLayers
	Size          int   // of the payload, if that is more than it needs
}

// Payload returns the payload in memory of its own.
func (v VP9) Payload() []byte {
	b := []byte{bit(v.PictureIDBits != 0, 0x80) | bit(!v.KeyFrame, 0x40) | bit(v.HasLayers, 0x20) |
		bit(v.Start, 0x08) | bit(v.End, 0x04)}
	if v.PictureIDBits != 0 {
		b = appendPictureID(b, v.PictureIDBits, v.PictureID)
	}
	if v.HasLayers {
		b = append(b, v.TemporalLayer<<5|bit(v.SwitchingUp, 0x10)|v.SpatialLayer<<1|bit(v.InterLayer, 0x01), v.TL0PICIDX)
	}
	return fill(append(b, 0x82), v.Size)
}

// H264Key returns a payload of size bytes or more that begins a key frame: SPS,
// PPS and an IDR slice in one aggregation packet.
func H264Key(size int) []byte {
	b := []byte{0x78}
	for _, nal := range [][]byte{{0x67, 0x42, 0x00, 0x1f}, {0x68, 0xce, 0x3c}, fill([]byte{0x65}, max(1, size-14))} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(nal)))
		b = append(b, nal...)
	}
	return b
}

// H264Delta returns a payload of size bytes, one at least: a slice of a delta
// frame.
func H264Delta(size int) []byte { return fill([]byte{0x61}, size) }

// H264IDR returns a payload of size bytes, one at least: an IDR slice without
// parameter sets.
func H264IDR(size int) []byte { return fill([]byte{0x65}, size) }

// Opus returns a payload of size bytes, two at least: one frame of 20 ms.
func Opus(size int) []byte { return fill([]byte{0x78, 0x5a}, size) }

// OpusDTX returns the payload of a packet of discontinuous transmission.
func OpusDTX() []byte { return []byte{0x78} }

// A Dependency describes a dependency descriptor of a stream with Spatial times
// Temporal layers (0 means 1), each a template and a decode target.
type Dependency struct {
	Start, End                  bool
	SpatialLayer, TemporalLayer int
	Frame                       uint16
	Structure                   bool // carries the template structure
	Spatial, Temporal           int
	// KeyOnly: spatial layers refer to each other at key frames only. Of each
	// layer there are two templates then: 2n for what all higher spatial layers
	// need and 2n+1 for what only their own does; Template chooses.
	KeyOnly  bool
	Template int
}

// Value returns the value of the extension in memory of its own.
func (d Dependency) Value() []byte {
	spatial, temporal := max(1, d.Spatial), max(1, d.Temporal)
	n := spatial * temporal
	var w bitWriter
	w.flag(d.Start)
	w.flag(d.End)
	template := d.SpatialLayer*temporal + d.TemporalLayer
	if d.KeyOnly {
		template = d.Template
	}
	w.write(uint32(template), 6)
	w.write(uint32(d.Frame), 16)
	if !d.Structure {
		return w.b
	}
	w.write(0b10000, 5) // structure; no active targets, nothing custom
	w.write(0, 6)       // first template
	w.write(uint32(n-1), 5)
	each := 1 // templates of a layer
	if d.KeyOnly {
		each = 2
	}
	for i := 1; i < each*n; i++ {
		if i%each != 0 {
			w.write(0, 2) // same layer
		} else if i/each%temporal == 0 {
			w.write(2, 2) // next spatial layer
		} else {
			w.write(1, 2) // next temporal layer
		}
	}
	w.write(3, 2)
	for template := range each * n {
		i := template / each
		for target := range n {
			own := template%each == 1
			if i%temporal <= target%temporal && (i/temporal == target/temporal || i/temporal < target/temporal && !own) {
				w.write(2, 2) // needed, and one may switch to it
			} else {
				w.write(0, 2)
			}
		}
	}
	for range each * n {
		w.flag(false) // no frame differences
	}
	for v := n + 1; v > 1; v >>= 1 {
		w.flag(false) // no chains
	}
	w.flag(false) // no resolutions
	return w.b
}

// A bitWriter writes big-endian bit fields.
type bitWriter struct {
	b    []byte
	free int // bits in the last byte
}

func (w *bitWriter) flag(v bool) { w.write(uint32(bit(v, 1)), 1) }

func (w *bitWriter) write(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.b = append(w.b, 0)
			w.free = 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>n&1) << w.free
	}
}
