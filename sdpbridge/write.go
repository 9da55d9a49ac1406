package sdpbridge

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mafalda-sfu/mafalda"
	"github.com/pion/sdp/v3"
)

// String returns the description as SDP, or the error of Marshal in words.
func (d *Description) String() string {
	text, err := d.Marshal()
	if err != nil {
		return err.Error()
	}
	return text
}

// Marshal returns the description as SDP. What could not stand in a line is
// an [mafalda.ErrInvalidArgument]; but a format parameter, CNAME or MSID, which
// come from strangers, is left out then.
func (d *Description) Marshal() (string, error) {
	raw := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: d.ID, SessionVersion: d.Version,
			NetworkType: "IN", AddressType: "IP4", UnicastAddress: "127.0.0.1",
		},
		SessionName:      "-",
		TimeDescriptions: []sdp.TimeDescription{{}},
	}
	if d.ICELite {
		raw.Attributes = append(raw.Attributes, sdp.NewPropertyAttribute("ice-lite"))
	}
	if d.Bundle != nil {
		raw.Attributes = append(raw.Attributes, sdp.NewAttribute("group", strings.Join(append([]string{"BUNDLE"}, d.Bundle...), " ")))
	}
	if d.ExtmapAllowMixed {
		raw.Attributes = append(raw.Attributes, sdp.NewPropertyAttribute("extmap-allow-mixed"))
	}
	raw.Attributes = append(raw.Attributes, sdp.NewAttribute("msid-semantic", "WMS *"))
	for i := range d.Media {
		m, err := d.Media[i].marshal()
		if err != nil {
			return "", fmt.Errorf("m-section %d: %w", i, err)
		}
		raw.MediaDescriptions = append(raw.MediaDescriptions, m)
	}
	text, err := raw.Marshal()
	if err != nil {
		return "", invalid("%v", err)
	}
	return string(text), nil
}

// lines collects attributes and remembers whether one was impossible.
type lines struct {
	list []sdp.Attribute
	err  error
}

// add appends «key:value»; value is formatted from safe parts only.
func (l *lines) add(key, format string, args ...any) {
	l.list = append(l.list, sdp.NewAttribute(key, fmt.Sprintf(format, args...)))
}

func (l *lines) flag(key string) { l.list = append(l.list, sdp.NewPropertyAttribute(key)) }

// token returns s, and remembers it if it is none.
func (l *lines) token(s string) string {
	if !isToken(s) && l.err == nil {
		l.err = invalid("%q can't be written", s)
	}
	return s
}

func (m *Media) marshal() (*sdp.MediaDescription, error) {
	var l lines
	formats := m.Formats
	if len(m.Codecs) > 0 {
		formats = nil
		for _, c := range m.Codecs {
			formats = append(formats, strconv.Itoa(int(c.PayloadType)))
		}
	}
	if len(formats) == 0 {
		formats = []string{"0"}
	}
	raw := &sdp.MediaDescription{
		MediaName: sdp.MediaName{
			Media:  l.token(m.Type),
			Port:   sdp.RangedPort{Value: 9},
			Protos: []string{l.token(m.Protocol)},
		},
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		},
	}
	for _, f := range formats {
		raw.MediaName.Formats = append(raw.MediaName.Formats, l.token(f))
	}
	if m.MID != "" {
		l.add("mid", "%s", l.token(m.MID))
	}
	if m.Rejected {
		raw.MediaName.Port.Value = 0
		l.flag(string(Inactive))
		m.marshalCodecs(&l) // pion/webrtc wants to know them even here
	} else {
		if m.SCTPPort == 0 {
			l.flag(l.token(string(m.Direction)))
		}
		m.marshalTransport(&l)
		m.marshalCodecs(&l)
		m.marshalStreams(&l)
	}
	if l.err != nil {
		return nil, l.err
	}
	raw.Attributes = l.list
	return raw, nil
}

func (m *Media) marshalTransport(l *lines) {
	if m.RTCPMux {
		l.flag("rtcp-mux")
		l.flag("rtcp-rsize")
	}
	if m.ICE.UsernameFragment != "" {
		l.add("ice-ufrag", "%s", l.token(m.ICE.UsernameFragment))
	}
	if m.ICE.Password != "" {
		l.add("ice-pwd", "%s", l.token(m.ICE.Password))
	}
	for _, f := range m.DTLS.Fingerprints {
		l.add("fingerprint", "%s %s", l.token(string(f.Algorithm)), l.token(f.Value))
	}
	switch m.DTLS.Role {
	case mafalda.DTLSRoleAuto:
		l.add("setup", "actpass")
	case mafalda.DTLSRoleClient:
		l.add("setup", "active")
	case mafalda.DTLSRoleServer:
		l.add("setup", "passive")
	}
	for _, c := range m.Candidates {
		tcpType := ""
		if c.TCPType != "" {
			tcpType = " tcptype " + l.token(c.TCPType)
		}
		l.add("candidate", "%s 1 %s %d %s %d typ %s%s", l.token(c.Foundation), l.token(string(c.Protocol)),
			c.Priority, l.token(c.Address), c.Port, l.token(c.Type), tcpType)
	}
	if len(m.Candidates) > 0 {
		l.flag("end-of-candidates")
	}
	if m.SCTPPort != 0 {
		l.add("sctp-port", "%d", m.SCTPPort)
	}
	if m.SCTPPort != 0 && m.MaxMessageSize != 0 {
		l.add("max-message-size", "%d", m.MaxMessageSize)
	}
}

func (m *Media) marshalCodecs(l *lines) {
	for _, c := range m.Codecs {
		_, name, _ := strings.Cut(c.MIMEType, "/")
		channels := ""
		if c.Channels > 1 {
			channels = fmt.Sprintf("/%d", c.Channels)
		}
		l.add("rtpmap", "%d %s/%d%s", c.PayloadType, l.token(name), c.ClockRate, channels)
		if text := formatFMTP(c.Parameters); text != "" {
			l.add("fmtp", "%d %s", c.PayloadType, text)
		}
		for _, f := range c.RTCPFeedback {
			if !isToken(f.Type) || !isParameterValue(f.Parameter) {
				continue
			}
			l.add("rtcp-fb", "%s", strings.TrimSpace(fmt.Sprintf("%d %s %s", c.PayloadType, f.Type, f.Parameter)))
		}
	}
}

func (m *Media) marshalStreams(l *lines) {
	for _, e := range m.HeaderExtensions {
		direction := ""
		if e.Direction != "" && e.Direction != SendRecv {
			direction = "/" + l.token(string(e.Direction))
		}
		l.add("extmap", "%d%s %s", e.ID, direction, l.token(string(e.URI)))
	}
	if words := strings.Fields(m.MSID); m.MSID != "" && !slices.ContainsFunc(words, func(w string) bool { return !isName(w, maxTokenLen) }) {
		l.add("msid", "%s", strings.Join(words, " "))
	}
	for _, rid := range m.ReceiveRIDs {
		l.add("rid", "%s recv", l.token(rid))
	}
	if len(m.ReceiveRIDs) > 0 {
		l.add("simulcast", "recv %s", strings.Join(m.ReceiveRIDs, ";"))
	}
	cname := m.CNAME
	if !isToken(cname) {
		cname = "-"
	}
	for _, e := range m.Encodings {
		if e.SSRC == 0 {
			continue
		}
		if e.RTX != nil {
			l.add("ssrc-group", "FID %d %d", e.SSRC, e.RTX.SSRC)
		}
		l.add("ssrc", "%d cname:%s", e.SSRC, cname)
		if e.RTX != nil {
			l.add("ssrc", "%d cname:%s", e.RTX.SSRC, cname)
		}
	}
}

// formatFMTP returns «a=1;b=x», sorted; what can't be written is left out.
func formatFMTP(parameters map[string]any) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		var value string
		switch v := parameters[key].(type) {
		case string:
			value = strings.TrimSpace(v)
		case int:
			value = strconv.Itoa(v)
		case float64:
			value = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			continue
		}
		switch {
		case !isParameterKey(key) || !isParameterValue(value):
		case value == "":
			parts = append(parts, key)
		default:
			parts = append(parts, key+"="+value)
		}
	}
	return strings.Join(parts, ";")
}
