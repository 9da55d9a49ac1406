package engine

// A ProducerType says how many streams and layers a Producer has and, of a
// Consumer, how it treats them. The order is that of mediasoup's protocol.
type ProducerType uint8

// The types. Only Consumers have PipeType.
const (
	SimpleType    ProducerType = iota // one stream without layers
	SimulcastType                     // several streams of one source
	SVCType                           // one stream with layers
	PipeType                          // all streams as they are
)

// String returns mediasoup's name of the type.
func (t ProducerType) String() string {
	switch t {
	case SimulcastType:
		return "simulcast"
	case SVCType:
		return "svc"
	case PipeType:
		return "pipe"
	}
	return "simple"
}

// A layering is how many layers an encoding has.
type layering struct {
	spatial, temporal int  // 1 to 99
	key               bool // spatial layers depend on each other in key frames only
}

func (l layering) several() bool { return l.spatial > 1 || l.temporal > 1 }

// layers reads the scalability mode: "L" or "S", spatial layers, "T", temporal
// layers, "_KEY" (media-plane §6.1). Anything else means one layer each.
func (e *Encoding) layers() layering {
	number := func(s string) (int, string) {
		n, i := 0, 0
		for i < len(s) && i < 2 && s[i] >= '0' && s[i] <= '9' {
			n = 10*n + int(s[i]-'0')
			i++
		}
		if i == 0 || s[0] == '0' {
			return 0, s
		}
		return n, s[i:]
	}
	none, mode := layering{spatial: 1, temporal: 1}, e.ScalabilityMode
	if mode == "" || mode[0] != 'L' && mode[0] != 'S' {
		return none
	}
	spatial, rest := number(mode[1:])
	if spatial == 0 || rest == "" || rest[0] != 'T' {
		return none
	}
	temporal, rest := number(rest[1:])
	if temporal == 0 {
		return none
	}
	return layering{spatial, temporal, len(rest) >= 4 && rest[:4] == "_KEY"}
}
