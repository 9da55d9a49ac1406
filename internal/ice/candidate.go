package ice

// mediasoup's numbers for the priority of host candidates.
const (
	hostTypePreference   = 64
	componentRTP         = 1
	firstLocalPreference = 10000
	localPreferenceStep  = 100
	preferredBonus       = 1000
	internalMalus        = 1000
)

// LocalPreference returns the local preference of the listen address at place
// index, 0 to 100, of a transport's or server's list, whatever their protocols.
// Preferred is for a server's addresses of the protocol that the transport
// prefers.
func LocalPreference(index int, preferred bool) uint16 {
	p := max(firstLocalPreference-localPreferenceStep*index, 0)
	if preferred {
		p += preferredBonus
	}
	return uint16(p)
}

// Priority returns the priority of a host candidate (RFC 8445 §5.1.2.1, with
// mediasoup's type preference of 64).
func Priority(localPreference uint16) uint32 {
	return hostTypePreference<<24 | uint32(localPreference)<<8 | (256 - componentRTP)
}

// A Candidate is a host candidate, of component 1. TCP candidates are passive.
type Candidate struct {
	Foundation string // "udpcandidate" or "tcpcandidate"
	Priority   uint32
	Address    string // IP, or the announced host name
	Port       uint16
	TCP        bool
}

// A Listen is an address on which a transport can be reached.
type Listen struct {
	Address   string // IP of the socket
	Port      uint16
	TCP       bool
	Announced string // IP or host name that replaces Address, "" for none
	// ExposeInternal adds a candidate with Address to the announced one.
	ExposeInternal bool
}

// AppendCandidates appends the one or two candidates of l to dst.
func AppendCandidates(dst []Candidate, l Listen, localPreference uint16) []Candidate {
	c := Candidate{
		Foundation: "udpcandidate",
		Priority:   Priority(localPreference),
		Address:    l.Address,
		Port:       l.Port,
		TCP:        l.TCP,
	}
	if l.TCP {
		c.Foundation = "tcpcandidate"
	}
	if l.Announced == "" {
		return append(dst, c)
	}
	internal := c
	c.Address = l.Announced
	dst = append(dst, c)
	if l.ExposeInternal {
		internal.Priority -= internalMalus
		dst = append(dst, internal)
	}
	return dst
}
