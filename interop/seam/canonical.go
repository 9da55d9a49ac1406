package main

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pion/rtp"
)

// canonical returns what came of each step without what differs from run to
// run. Objects are named as the script does. Events are in the order in which
// their object emitted them, what a call made before what happened to it; the
// order between objects is a matter of time, unless a call of close emitted them
// all itself: see order.
func canonical(script []step, log []entry) ([]any, error) {
	c := &canonicalizer{names: map[string]string{}, seen: map[string]map[any]int{}, first: map[float64]uint16{}}
	for i := range script {
		c.nameResult(script[i].As, log[i].Result)
	}
	c.nameFound(log)
	var out []any
	for i, e := range log {
		events := slices.DeleteFunc(slices.Clone(e.Events), func(v event) bool { return isReport(v) || isLastBreath(v, e.Events) })
		for j := range events {
			events[j].On = c.renamed(events[j].On)
		}
		events = lastStates(events)
		var order []any
		if strings.HasSuffix(script[i].Call, ".close") {
			for _, v := range e.Events[:e.Sync] {
				order = append(order, c.renamed(v.On)+" "+v.Event)
			}
		}
		slices.SortStableFunc(events, func(a, b event) int {
			return cmp.Or(strings.Compare(owner(a.On), owner(b.On)), cmp.Compare(rank(a.Event), rank(b.Event)))
		})
		var v map[string]any
		b, err := json.Marshal(entry{Result: e.Result, Error: e.Error, Events: events})
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		delete(v, "sync")
		canonical := c.value("", v).(map[string]any)
		if order != nil {
			canonical["order"] = order
		}
		out = append(out, canonical)
	}
	return out, nil
}

// owner is the object whose events come at that place.
func owner(on string) string { return strings.TrimSuffix(on, ".observer") }

// isLastBreath reports whether v says that SCTP has ended on an object that the
// step closes: one end of a pipe may hear of the other one's end before its own.
func isLastBreath(v event, events []event) bool {
	return v.Event == "sctpstatechange" && len(v.Args) == 1 && v.Args[0] == "closed" &&
		slices.ContainsFunc(events, func(w event) bool { return w.Event == "close" && owner(w.On) == owner(v.On) })
}

// lastStates keeps of the states of SCTP that a place tells one after another the
// last: states coalesce.
func lastStates(events []event) []event {
	var out []event
	for i, v := range events {
		later := slices.ContainsFunc(events[i+1:], func(w event) bool { return w.On == v.On && w.Event == v.Event })
		if v.Event != "sctpstatechange" || !later {
			out = append(out, v)
		}
	}
	return append([]event{}, out...)
}

// rank puts events that tell of new objects first.
func rank(event string) int {
	if strings.HasPrefix(event, "new") {
		return 0
	}
	return 1
}

// isReport reports whether an event is RTCP that comes by the clock: anything
// but feedback.
func isReport(e event) bool {
	if e.Event != "rtcp" || len(e.Args) == 0 {
		return false
	}
	m, _ := e.Args[0].(map[string]any)
	s, _ := m["$bytes"].(string)
	return len(s) < 4 || s[2:4] != "cd" && s[2:4] != "ce" // 205 and 206
}

// A canonicalizer goes through one log.
type canonicalizer struct {
	names map[string]string      // of objects, by id
	seen  map[string]map[any]int // what came, by kind, and which of its kind it was
	first map[float64]uint16     // the first sequence number of each SSRC
}

// nameResult learns the ids of what a step named.
func (c *canonicalizer) nameResult(as, result any) {
	r, ok := result.(map[string]any)
	if !ok {
		return
	}
	switch as := as.(type) {
	case string:
		if id, ok := r["$object"].(string); ok {
			c.name(id, as)
		}
	case map[string]any:
		for k, name := range as {
			c.nameResult(name, r[k])
		}
	}
}

// nameFound names what the script does not: after the event that told of it.
func (c *canonicalizer) nameFound(log []entry) {
	count := map[string]int{}
	for _, e := range log {
		for _, v := range e.Events {
			if !strings.HasPrefix(v.Event, "new") || len(v.Args) == 0 {
				continue
			}
			o, ok := v.Args[0].(map[string]any)
			id, _ := o["$object"].(string)
			if !ok || c.names[id] != "" {
				continue
			}
			base := owner(c.renamed(v.On)) + "." + v.Event
			count[base]++
			c.name(id, fmt.Sprintf("%s%d", base, count[base]))
		}
	}
}

// name gives an id its name; that of a pipe is that of what is piped.
func (c *canonicalizer) name(id, name string) {
	if c.names[id] == "" {
		c.names[id] = name
	}
}

var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// renamed replaces the ids in a text.
func (c *canonicalizer) renamed(s string) string {
	return uuid.ReplaceAllStringFunc(s, func(id string) string {
		if name := c.names[id]; name != "" {
			return name
		}
		return c.number("uuid", id)
	})
}

// number says which of its kind v is.
func (c *canonicalizer) number(kind string, v any) string {
	m := c.seen[kind]
	if m == nil {
		m = map[any]int{}
		c.seen[kind] = m
	}
	if m[v] == 0 {
		m[v] = len(m) + 1
	}
	return fmt.Sprintf("<%s %d>", kind, m[v])
}

// value returns v, which stands under key, without what differs.
func (c *canonicalizer) value(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if b, ok := v["$bytes"].(string); ok {
			return c.bytes(b)
		}
		_, isPacket := v["sequenceNumber"]
		kind, _ := v["type"].(string)
		out := map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			x := v[k]
			switch {
			case isPacket && (k == "timestamp" || k == "sequenceNumber"):
				out[k] = c.packetNumber(k, v)
			case strings.HasSuffix(kind, "-transport") && (k == "bytesReceived" || k == "bytesSent"):
				out[k] = zeroOr(x, "<bytes>") // RTCP, which comes by the clock, is in them
			default:
				out[k] = c.value(k, x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = c.value(key, v[i])
		}
		return out
	case string:
		return c.text(key, v)
	case float64:
		return c.numeral(key, v)
	}
	return v
}

func zeroOr(v any, text string) any {
	if v == 0.0 {
		return v
	}
	return text
}

// packetNumber returns the number of a packet: its sequence number is counted
// from the first one of its stream.
func (c *canonicalizer) packetNumber(key string, packet map[string]any) any {
	ssrc, _ := packet["ssrc"].(float64)
	v, _ := packet[key].(float64)
	if key != "sequenceNumber" || !isRandomSSRC(ssrc) {
		return v
	}
	return c.relative(ssrc, uint16(v))
}

func (c *canonicalizer) relative(ssrc float64, seq uint16) float64 {
	if _, ok := c.first[ssrc]; !ok {
		c.first[ssrc] = seq
	}
	return float64(int16(seq - c.first[ssrc]))
}

// isRandomSSRC reports whether an SSRC can be one that mediasoup chose; those of
// the script are smaller.
func isRandomSSRC(n float64) bool { return n >= 100_000_000 && n < 1_000_000_000 }

// ssrc names an SSRC that was chosen: one that is the next to a known one is
// named after that.
func (c *canonicalizer) ssrc(n float64) any {
	if !isRandomSSRC(n) {
		return n
	}
	known := c.seen["ssrc"]
	for d := 1; d < 4 && known[n] == 0; d++ {
		if base := n - float64(d); known[base] != 0 {
			return fmt.Sprintf("<ssrc %d + %d>", known[base], d)
		}
	}
	return c.number("ssrc", n)
}

func (c *canonicalizer) numeral(key string, n float64) any {
	switch key {
	case "timestamp":
		return "<ms>"
	case "pid":
		return "<pid>"
	case "port", "localPort", "remotePort", "rtcpPort":
		if n >= 10000 {
			return c.number("port", n)
		}
	case "recvBitrate", "sendBitrate", "rtpRecvBitrate", "rtpSendBitrate", "rtxRecvBitrate", "rtxSendBitrate",
		"probationSendBitrate", "bitrate", "roundTripTime":
		return zeroOr(n, "<rate>")
	case "jitter":
		return "<jitter>"
	case "ssrc", "mappedSsrc", "rtxSsrc", "key":
		return c.ssrc(n)
	}
	if strings.HasPrefix(key, "ru_") {
		return "<usage>"
	}
	return n
}

var (
	randomCNAME = regexp.MustCompile(`^[a-z0-9]{8}$`)
	digest      = regexp.MustCompile(`^([0-9A-F]{2}:){10,}`)
)

func (c *canonicalizer) text(key, s string) any {
	random := false
	switch key {
	case "usernameFragment", "password", "localIceUsernameFragment":
		random = len(s) == 32
	case "cname":
		random = randomCNAME.MatchString(s)
	case "keyBase64":
		random = true
	case "value":
		random = digest.MatchString(s)
	}
	if random {
		return c.number(fmt.Sprintf("%s of %d", key, len(s)), s)
	}
	return c.renamed(s)
}

// bytes shows RTP as its fields, and anything else as it is. Of header
// extensions only the ids are shown: there are times in them.
func (c *canonicalizer) bytes(s string) any {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 || b[0]>>6 != 2 {
		return s
	}
	var p rtp.Packet
	if p.Unmarshal(b) != nil {
		return s
	}
	var ids []any
	for _, id := range p.GetExtensionIDs() {
		ids = append(ids, float64(id))
	}
	ssrc, seq := float64(p.SSRC), float64(p.SequenceNumber)
	if isRandomSSRC(ssrc) {
		seq = c.relative(ssrc, p.SequenceNumber)
	}
	return map[string]any{
		"payloadType": float64(p.PayloadType), "marker": p.Marker, "sequenceNumber": seq,
		"rtpTimestamp": float64(p.Timestamp), "ssrc": c.ssrc(ssrc), "extensions": ids, "payload": hex.EncodeToString(p.Payload),
	}
}
