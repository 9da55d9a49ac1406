package sdpbridge

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/mafalda-sfu/mafalda"
	"github.com/pion/sdp/v3"
)

// Bounds of what is taken from a description. Beyond the first two it is
// refused, beyond the others cut off: no endpoint comes near them.
const (
	maxText       = 1 << 20 // bytes
	maxMedia      = 1000
	maxFeedback   = 16 // for each codec
	maxParameters = 64 // for each codec
	maxExtensions = 64
	maxRIDs       = 16
	maxMIDLen     = 32
	maxRIDLen     = 16
	maxTokenLen   = 256
)

// Parse reads a session description. Unknown lines are skipped. What is
// malformed is an [mafalda.ErrInvalidArgument].
func Parse(text string) (*Description, error) {
	if len(text) > maxText {
		return nil, invalid("%d bytes are too many", len(text))
	}
	if !strings.HasPrefix(text, "v=0") {
		return nil, invalid("no v=0 line")
	}
	var raw sdp.SessionDescription
	if err := raw.UnmarshalString(text); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, invalid("it ends too early")
		}
		return nil, invalid("%v", err)
	}
	if len(raw.MediaDescriptions) > maxMedia {
		return nil, invalid("%d m-sections are too many", len(raw.MediaDescriptions))
	}
	d := &Description{ID: raw.Origin.SessionID, Version: raw.Origin.SessionVersion}
	var defaults Media
	for _, a := range raw.Attributes {
		if err := d.parseSessionAttribute(a, &defaults); err != nil {
			return nil, err
		}
	}
	mids := make(map[string]bool, len(raw.MediaDescriptions))
	for i, m := range raw.MediaDescriptions {
		media, err := parseMedia(m, defaults)
		if err != nil {
			return nil, fmt.Errorf("m-section %d: %w", i, err)
		}
		if media.MID != "" && mids[media.MID] {
			return nil, invalid("m-section %d: MID %q is taken", i, media.MID)
		}
		mids[media.MID] = true
		media.ICE.ICELite = d.ICELite
		d.Media = append(d.Media, media)
	}
	return d, nil
}

func (d *Description) parseSessionAttribute(a sdp.Attribute, defaults *Media) error {
	switch a.Key {
	case "ice-lite":
		d.ICELite = true
	case "extmap-allow-mixed":
		d.ExtmapAllowMixed = true
	case "group":
		words := strings.Fields(a.Value)
		if len(words) > 0 && words[0] == "BUNDLE" && d.Bundle == nil {
			d.Bundle = words[1:]
		}
	default:
		return defaults.parseShared(a)
	}
	return nil
}

// parseShared reads an attribute that a section may leave to the session.
func (m *Media) parseShared(a sdp.Attribute) error {
	switch a.Key {
	case "sendrecv", "sendonly", "recvonly", "inactive":
		m.Direction = Direction(a.Key)
	case "ice-ufrag":
		if !isToken(a.Value) {
			return invalid("ICE username fragment")
		}
		m.ICE.UsernameFragment = a.Value
	case "ice-pwd":
		if !isToken(a.Value) {
			return invalid("ICE password")
		}
		m.ICE.Password = a.Value
	case "setup":
		role, ok := map[string]mafalda.DTLSRole{
			"actpass": mafalda.DTLSRoleAuto, "active": mafalda.DTLSRoleClient, "passive": mafalda.DTLSRoleServer,
		}[a.Value]
		if !ok {
			return invalid("setup %q", a.Value)
		}
		m.DTLS.Role = role
	case "fingerprint":
		return m.parseFingerprint(a.Value)
	case "extmap":
		m.parseExtmap(a.Value)
	}
	return nil
}

// hashSizes has the length in bytes of the fingerprints that a transport takes.
var hashSizes = map[mafalda.FingerprintAlgorithm]int{
	mafalda.FingerprintSHA1: 20, mafalda.FingerprintSHA224: 28, mafalda.FingerprintSHA256: 32,
	mafalda.FingerprintSHA384: 48, mafalda.FingerprintSHA512: 64,
}

// parseFingerprint reads «sha-256 AB:CD:…» (RFC 8122 §5). Of several, that of
// sha-256 comes first, because a transport checks the first. One of an unknown
// algorithm is skipped.
func (m *Media) parseFingerprint(value string) error {
	name, text, _ := strings.Cut(value, " ")
	f := mafalda.DTLSFingerprint{Algorithm: mafalda.FingerprintAlgorithm(strings.ToLower(name)), Value: strings.TrimSpace(text)}
	size, ok := hashSizes[f.Algorithm]
	if !ok {
		return nil
	}
	hash, err := hex.DecodeString(strings.ReplaceAll(f.Value, ":", ""))
	if err != nil || len(hash) != size || len(f.Value) != 3*size-1 {
		return invalid("%s fingerprint", f.Algorithm)
	}
	for i := 2; i < len(f.Value); i += 3 {
		if f.Value[i] != ':' {
			return invalid("%s fingerprint", f.Algorithm)
		}
	}
	if slices.Contains(m.DTLS.Fingerprints, f) {
		return nil
	}
	at := len(m.DTLS.Fingerprints)
	if f.Algorithm == mafalda.FingerprintSHA256 {
		at = slices.IndexFunc(m.DTLS.Fingerprints, func(x mafalda.DTLSFingerprint) bool { return x.Algorithm != f.Algorithm })
		if at < 0 {
			at = len(m.DTLS.Fingerprints)
		}
	}
	m.DTLS.Fingerprints = slices.Insert(m.DTLS.Fingerprints, at, f)
	return nil
}

// parseExtmap reads «3/recvonly urn:… attributes». What can't be an extension
// is skipped, as is a second one with the same id or URI.
func (m *Media) parseExtmap(value string) {
	words := strings.Fields(value)
	if len(words) < 2 || len(m.HeaderExtensions) >= maxExtensions {
		return
	}
	number, direction, _ := strings.Cut(words[0], "/")
	id, err := strconv.ParseUint(number, 10, 8)
	if err != nil || id == 0 || !isToken(words[1]) {
		return
	}
	e := HeaderExtension{ID: uint8(id), URI: mafalda.RTPHeaderExtensionURI(words[1])}
	switch Direction(direction) {
	case SendOnly, RecvOnly, Inactive:
		e.Direction = Direction(direction)
	}
	if !slices.ContainsFunc(m.HeaderExtensions, func(x HeaderExtension) bool { return x.ID == e.ID || x.URI == e.URI }) {
		m.HeaderExtensions = append(m.HeaderExtensions, e)
	}
}

func parseMedia(raw *sdp.MediaDescription, defaults Media) (Media, error) {
	m := defaults
	m.DTLS.Fingerprints = slices.Clone(defaults.DTLS.Fingerprints)
	m.HeaderExtensions = slices.Clone(defaults.HeaderExtensions)
	m.Type = raw.MediaName.Media
	m.Protocol = strings.Join(raw.MediaName.Protos, "/")
	m.Formats = raw.MediaName.Formats
	m.Rejected = raw.MediaName.Port.Value == 0
	if m.Direction == "" {
		m.Direction = SendRecv
	}
	if !isToken(m.Type) || !isToken(m.Protocol) || slices.ContainsFunc(m.Formats, func(f string) bool { return !isToken(f) }) {
		return Media{}, invalid("m= line")
	}
	ownFingerprint := false
	for _, a := range raw.Attributes {
		switch a.Key {
		case "mid":
			if !isName(a.Value, maxMIDLen) {
				return Media{}, invalid("MID %q", a.Value)
			}
			m.MID = a.Value
		case "bundle-only": // comes with port 0 (RFC 9143 §6)
			m.Rejected = false
		case "rtcp-mux", "rtcp-mux-only":
			m.RTCPMux = true
		case "msid":
			m.setMSID(a.Value)
		case "sctp-port":
			n, err := strconv.ParseUint(a.Value, 10, 16)
			if err != nil {
				return Media{}, invalid("SCTP port %q", a.Value)
			}
			m.SCTPPort = uint16(n)
		case "max-message-size":
			n, err := strconv.ParseUint(a.Value, 10, 32)
			if err != nil {
				return Media{}, invalid("message size %q", a.Value)
			}
			m.MaxMessageSize = uint32(n)
		case "simulcast":
			m.parseSimulcast(a.Value)
		case "fingerprint":
			if !ownFingerprint {
				ownFingerprint, m.DTLS.Fingerprints = true, nil
			}
		}
		if err := m.parseShared(a); err != nil {
			return Media{}, err
		}
	}
	if m.Kind() == "" {
		return m, nil
	}
	if err := m.parseCodecs(raw.Attributes); err != nil {
		return Media{}, err
	}
	return m, m.parseSSRCs(raw.Attributes)
}

// parseSimulcast reads «send 1;~2;3,4 recv 5» (RFC 8853 §5.1). Of alternatives
// it takes the first; whether a stream starts paused does not matter.
func (m *Media) parseSimulcast(value string) {
	words := strings.Fields(value)
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] != "send" || m.RIDs != nil {
			continue
		}
		for s := range strings.SplitSeq(words[i+1], ";") {
			first, _, _ := strings.Cut(s, ",")
			first = strings.TrimPrefix(first, "~")
			if len(m.RIDs) < maxRIDs && isName(first, maxRIDLen) && !slices.Contains(m.RIDs, first) {
				m.RIDs = append(m.RIDs, first)
			}
		}
	}
}

// setMSID keeps «stream track» or «stream» if it is well-formed.
func (m *Media) setMSID(value string) {
	words := strings.Fields(value)
	if len(words) == 0 || len(words) > 2 || slices.ContainsFunc(words, func(w string) bool { return !isName(w, maxTokenLen) }) {
		return
	}
	m.MSID = strings.Join(words, " ")
}

// parseSSRCs reads the first stream and its retransmissions (RFC 5576).
func (m *Media) parseSSRCs(attributes []sdp.Attribute) error {
	var first, rtx uint32
	for _, a := range attributes {
		switch a.Key {
		case "ssrc":
			id, attribute, _ := strings.Cut(a.Value, " ")
			ssrc, err := strconv.ParseUint(id, 10, 32)
			if err != nil || ssrc == 0 {
				return invalid("SSRC %q", id)
			}
			if first == 0 {
				first = uint32(ssrc)
			}
			switch name, value, _ := strings.Cut(attribute, ":"); name {
			case "cname":
				if m.CNAME == "" && isToken(value) {
					m.CNAME = value
				}
			case "msid":
				if m.MSID == "" {
					m.setMSID(value)
				}
			}
		case "ssrc-group":
			words := strings.Fields(a.Value)
			if len(words) != 3 || words[0] != "FID" || rtx != 0 {
				continue
			}
			x, err := strconv.ParseUint(words[1], 10, 32)
			y, err2 := strconv.ParseUint(words[2], 10, 32)
			if err != nil || err2 != nil || x == 0 || y == 0 || x == y {
				return invalid("SSRC group %q", a.Value)
			}
			first, rtx = uint32(x), uint32(y)
		}
	}
	if first == 0 {
		return nil
	}
	e := mafalda.RTPEncodingParameters{SSRC: first}
	if rtx != 0 {
		e.RTX = &mafalda.RTXParameters{SSRC: rtx}
	}
	m.Encodings = []mafalda.RTPEncodingParameters{e}
	return nil
}

// isToken reports whether s is short and visible ASCII without spaces.
func isToken(s string) bool {
	if s == "" || len(s) > maxTokenLen {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isName reports whether s is a token of RFC 8866 §9 with at most limit bytes,
// or one with the characters of base 64, which some endpoints put into ids.
func isName(s string, limit int) bool {
	return isToken(s) && len(s) <= limit && !strings.ContainsAny(s, `"(),:;<>?@[\]`)
}

// invalid returns an ErrInvalidArgument that says what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("SDP: %s: %w", fmt.Sprintf(format, args...), mafalda.ErrInvalidArgument)
}
