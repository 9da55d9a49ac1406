package codec

import "math/bits"

// Limits of a dependency descriptor.
const (
	minDescriptor = 3
	maxDescriptor = 255
	maxTemplates  = 64
	maxTargets    = 32
	maxLayer      = 7 // of both kinds; more are malformed
)

// A Structure is the template dependency structure of a stream: what the template
// ids of the dependency descriptors that follow it mean. It holds no pointer.
type Structure struct {
	// Templates is their number, 1 to 64; 0 when no structure was read.
	Templates uint8
	// Targets is the number of decode targets, 1 to 32.
	Targets uint8
	// Chains is the number of chains, 0 to Targets.
	Chains uint8
	// MaxSpatialLayer and MaxTemporalLayer are the highest that any template has.
	MaxSpatialLayer, MaxTemporalLayer uint8

	offset   uint8
	spatial  [maxTemplates]uint8
	temporal [maxTemplates]uint8
	needed   [maxTemplates]uint32 // the decode targets that need the frames, one bit each
	layers   [maxTargets]uint64   // what each decode target consists of: its layerBit
	all      uint64               // of all targets
}

// layerBit is the bit of [Info.NeededBy] for who decodes up to these layers.
func layerBit(spatial, temporal uint8) uint64 { return 1 << (8*(spatial&maxLayer) + temporal&maxLayer) }

// neededBy translates decode targets into layers.
func (s *Structure) neededBy(targets uint32) (layers uint64) {
	for ; targets != 0; targets &= targets - 1 {
		layers |= s.layers[bits.TrailingZeros32(targets)]
	}
	return layers
}

// Needed reports whether who decodes up to the given layers needs the frame, by
// the decode target indications of its dependency descriptor; known is false when
// these say nothing about such a decoder.
func (info *Info) Needed(spatial, temporal uint8) (needed, known bool) {
	bit := layerBit(spatial, temporal)
	return info.NeededBy&bit != 0, info.Targets&bit != 0
}

// Layers returns the layers of the frames of a template; false when the structure
// lacks it.
func (s *Structure) Layers(template uint8) (spatial, temporal uint8, ok bool) {
	i := (template - s.offset) & (maxTemplates - 1)
	if i >= s.Templates {
		return 0, 0, false
	}
	return s.spatial[i], s.temporal[i], true
}

// Resolve sets the layers of info, read from a dependency descriptor, according
// to s. It returns false when s lacks its template.
func (info *Info) Resolve(s *Structure) bool {
	if !info.HasDependency {
		return false
	}
	spatial, temporal, ok := s.Layers(info.Template)
	if ok {
		info.SpatialLayer, info.TemporalLayer, info.HasLayers = spatial, temporal, true
		info.NeededBy = s.neededBy(s.needed[(info.Template-s.offset)&(maxTemplates-1)])
		info.Targets = s.all
	}
	return ok
}

// ParseDependency reads a dependency descriptor (AV1 RTP payload format, appendix
// A) and sets *info. A key frame is where it carries a template structure, which
// is then stored in s. Another descriptor gets its layers from s, and is refused
// if s lacks its template. s may be nil: then layers are known only together with
// a structure. ParseDependency returns false, and neither info nor s change, when
// the descriptor is malformed or refused.
//
//	| start of frame (1) | end of frame (1) | template id (6) | frame number (16) |
//	more than three bytes:
//	| structure (1) | active targets (1) | custom dtis, fdiffs, chains (3) | …
func ParseDependency(b []byte, s *Structure, info *Info) bool {
	if len(b) < minDescriptor || len(b) > maxDescriptor {
		return false
	}
	r := bitReader{b: b}
	found := Info{HasDependency: true}
	found.StartOfFrame = r.flag()
	found.EndOfFrame = r.flag()
	found.Template = uint8(r.read(6))
	found.FrameNumber = uint16(r.read(16))
	var attached Structure
	targets, custom := 0, false
	if s != nil {
		targets = int(s.Targets)
	}
	if len(b) > minDescriptor {
		found.HasStructure = r.flag()
		active := r.flag()
		custom = r.flag()
		r.read(2)
		if found.HasStructure {
			if !attached.read(&r) {
				return false
			}
			targets = int(attached.Targets)
		}
		if active && targets != 0 {
			found.HasActiveTargets = true
			found.ActiveTargets = r.read(targets)
		}
	}
	switch {
	case r.over:
		return false
	case found.HasStructure:
		if !found.resolve(&attached, custom, &r) {
			return false
		}
		found.KeyFrame = true
		if s != nil {
			*s = attached
		}
	case s != nil:
		if !found.resolve(s, custom, &r) {
			return false
		}
	}
	*info = found
	return true
}

// resolve is Resolve with the decode target indications of the descriptor itself,
// which are next in r, if it has custom ones. Half of them count as none.
func (info *Info) resolve(s *Structure, custom bool, r *bitReader) bool {
	if !info.Resolve(s) {
		return false
	}
	if custom {
		if needed := r.indications(s.Targets); !r.over {
			info.NeededBy = s.neededBy(needed)
		}
	}
	return true
}

// indications reads the decode target indications of one frame and returns the
// targets that need it. Each is of two bits, and 0 for a frame that is no part of
// the target.
func (r *bitReader) indications(targets uint8) (needed uint32) {
	for target := range targets {
		if r.read(2) != 0 {
			needed |= 1 << target
		}
	}
	return needed
}

// read reads a template dependency structure.
func (s *Structure) read(r *bitReader) bool {
	s.offset = uint8(r.read(6))
	s.Targets = uint8(r.read(5)) + 1
	if !s.readLayers(r) {
		return false
	}
	for i := range s.Templates {
		s.needed[i] = r.indications(s.Targets)
	}
	s.readTargets()
	// Frame differences: any number for each template.
	for range s.Templates {
		for r.flag() {
			r.read(4)
		}
	}
	s.Chains = uint8(r.readBelow(uint32(s.Targets) + 1))
	if s.Chains > 0 {
		for range s.Targets {
			r.readBelow(uint32(s.Chains))
		}
		for range int(s.Templates) * int(s.Chains) {
			r.read(4)
		}
	}
	if r.flag() { // resolutions
		for range int(s.MaxSpatialLayer) + 1 {
			r.read(32)
		}
	}
	return !r.over
}

// readTargets finds out which layers each decode target reaches: the highest of
// the templates that it needs.
func (s *Structure) readTargets() {
	for target := range s.Targets {
		var spatial, temporal uint8
		for i := range s.Templates {
			if s.needed[i]>>target&1 != 0 {
				spatial, temporal = max(spatial, s.spatial[i]), max(temporal, s.temporal[i])
			}
		}
		s.layers[target] = layerBit(spatial, temporal)
		s.all |= s.layers[target]
	}
}

// readLayers reads the layers of all templates: each is of the layer of the one
// before, or of the next temporal or spatial one.
func (s *Structure) readLayers(r *bitReader) bool {
	const (
		same = iota
		nextTemporal
		nextSpatial
		end
	)
	var spatial, temporal uint8
	for {
		if s.Templates == maxTemplates || spatial > maxLayer || temporal > maxLayer {
			return false
		}
		s.spatial[s.Templates], s.temporal[s.Templates] = spatial, temporal
		s.Templates++
		s.MaxTemporalLayer = max(s.MaxTemporalLayer, temporal)
		s.MaxSpatialLayer = spatial
		switch r.read(2) {
		case same:
		case nextTemporal:
			temporal++
		case nextSpatial:
			temporal = 0
			spatial++
		case end:
			return !r.over
		}
		if r.over {
			return false
		}
	}
}
