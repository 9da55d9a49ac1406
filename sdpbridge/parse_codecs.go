package sdpbridge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mafalda-sfu/mafalda"
	"github.com/pion/sdp/v3"
)

// staticCodecs are the payload types that need no rtpmap (RFC 3551 §6), as far
// as Routers know their codecs.
var staticCodecs = map[uint8]string{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 13: "CN/8000"}

// parseCodecs reads the payload types of the m= line with their rtpmap, fmtp
// and rtcp-fb. One without rtpmap is left out; wrong numbers are errors.
func (m *Media) parseCodecs(attributes []sdp.Attribute) error {
	maps := make(map[uint8]string)
	for _, a := range attributes {
		if a.Key != "rtpmap" {
			continue
		}
		pt, text, err := cutPayloadType(a.Value)
		if err != nil {
			return err
		}
		if _, twice := maps[pt]; !twice {
			maps[pt] = text
		}
	}
	index := make(map[uint8]int)
	for _, f := range m.Formats {
		pt, _, err := cutPayloadType(f)
		if err != nil {
			return err
		}
		text, ok := maps[pt]
		if !ok {
			text, ok = staticCodecs[pt]
		}
		if _, twice := index[pt]; twice || !ok {
			continue
		}
		c, err := m.parseRTPMap(pt, text)
		if err != nil {
			return err
		}
		index[pt] = len(m.Codecs)
		m.Codecs = append(m.Codecs, c)
	}
	for _, a := range attributes {
		switch a.Key {
		case "fmtp":
			if pt, text, err := cutPayloadType(a.Value); err == nil {
				if i, ok := index[pt]; ok {
					parseFMTP(m.Codecs[i].Parameters, text)
				}
			}
		case "rtcp-fb":
			m.parseFeedback(a.Value, index)
		}
	}
	return nil
}

// cutPayloadType splits «96 text».
func cutPayloadType(s string) (pt uint8, text string, err error) {
	number, text, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(number, 10, 7)
	if err != nil {
		return 0, "", invalid("payload type %q", number)
	}
	return uint8(n), strings.TrimSpace(text), nil
}

// parseRTPMap reads «opus/48000/2».
func (m *Media) parseRTPMap(pt uint8, text string) (mafalda.RTPCodecParameters, error) {
	words := strings.Split(text, "/")
	c := mafalda.RTPCodecParameters{
		MIMEType:     m.Type + "/" + words[0],
		PayloadType:  pt,
		Parameters:   map[string]any{},
		RTCPFeedback: []mafalda.RTCPFeedback{},
	}
	if len(words) < 2 || len(words) > 3 || !isName(words[0], maxTokenLen) {
		return c, invalid("rtpmap %q", text)
	}
	rate, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil || rate == 0 {
		return c, invalid("clock rate %q", words[1])
	}
	c.ClockRate = uint32(rate)
	if m.Kind() != mafalda.MediaKindAudio {
		return c, nil
	}
	c.Channels = 1
	if len(words) == 3 {
		channels, err := strconv.ParseUint(words[2], 10, 8)
		if err != nil || channels == 0 {
			return c, invalid("channels %q", words[2])
		}
		c.Channels = uint8(channels)
	}
	return c, nil
}

// parseFMTP reads «key=value;key=value». A plain decimal becomes an int, as
// clients in JavaScript have it, but for profile-level-id, which is hexadecimal
// even when it has no letter. A key without value gets an empty one.
func parseFMTP(parameters map[string]any, text string) {
	for part := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if len(parameters) >= maxParameters || !isParameterKey(key) || !isParameterValue(value) {
			continue
		}
		if n, err := strconv.Atoi(value); err == nil && strconv.Itoa(n) == value && key != "profile-level-id" {
			parameters[key] = n
			continue
		}
		parameters[key] = value
	}
}

// parseFeedback reads «96 nack pli» or «* nack pli».
func (m *Media) parseFeedback(value string, index map[uint8]int) {
	target, text, _ := strings.Cut(value, " ")
	kind, parameter, _ := strings.Cut(strings.TrimSpace(text), " ")
	f := mafalda.RTCPFeedback{Type: kind, Parameter: strings.TrimSpace(parameter)}
	if !isToken(f.Type) || f.Parameter != "" && !isParameterValue(f.Parameter) {
		return
	}
	for i := range m.Codecs {
		c := &m.Codecs[i]
		if target != "*" && target != strconv.Itoa(int(c.PayloadType)) {
			continue
		}
		if len(c.RTCPFeedback) < maxFeedback && !slices.Contains(c.RTCPFeedback, f) {
			c.RTCPFeedback = append(c.RTCPFeedback, f)
		}
	}
}

// isParameterKey reports whether s can be the name of a format parameter; the
// values of RED and telephone-event, which have no name, are such too.
func isParameterKey(s string) bool { return isToken(s) && !strings.ContainsAny(s, ";=") }

// isParameterValue reports whether s can stand in a line without ending it or
// its parameter.
func isParameterValue(s string) bool {
	if len(s) > 4*maxTokenLen {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == ';' {
			return false
		}
	}
	return true
}
