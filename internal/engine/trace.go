package engine

// A traceSet is the set of trace events that an object emits.
type traceSet struct{ rtp, keyFrame, nack, pli, fir, sr bool }

// newTraceSet ignores names that it does not know, as mediasoup does.
func newTraceSet(types []string) (s traceSet) {
	for _, t := range types {
		switch t {
		case "rtp":
			s.rtp = true
		case "keyframe":
			s.keyFrame = true
		case "nack":
			s.nack = true
		case "pli":
			s.pli = true
		case "fir":
			s.fir = true
		case "sr":
			s.sr = true
		}
	}
	return s
}

// names lists the set in mediasoup's order.
func (s traceSet) names() []string {
	names := []string{}
	for _, x := range []struct {
		on   bool
		name string
	}{{s.rtp, "rtp"}, {s.keyFrame, "keyframe"}, {s.nack, "nack"}, {s.pli, "pli"}, {s.fir, "fir"}, {s.sr, "sr"}} {
		if x.on {
			names = append(names, x.name)
		}
	}
	return names
}

// packets reports whether packets of that kind are traced, and under which name.
func (s traceSet) packets(key bool) (name string, ok bool) {
	switch {
	case key && s.keyFrame:
		return "keyframe", true
	case s.rtp:
		return "rtp", true
	}
	return "", false
}

func (m *Machine) trace(id string, e TraceEvent) {
	e.Timestamp = m.now
	m.notify(id, Trace{e})
}
