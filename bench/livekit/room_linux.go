package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/bench/internal/harness"
)

// A room is what all peers join.
type room struct {
	host   *harness.Host
	server *server

	mu      sync.Mutex
	members []*member // guarded by mu
}

// foreign lets the peer join that sends.
func (r *room) foreign(o *options) (harness.Foreign, error) {
	f := harness.Foreign{
		Addr: netip.AddrPortFrom(r.host.Addr(), mediaPort), Layer: o.Layer, Sent: datagrams,
		Join: r.receive, Joins: o.Consumers, Process: r.server.cmd.Process.Pid,
	}
	m, err := r.join("sender", true)
	if err != nil {
		return f, err
	}
	if err := m.publish(); err != nil {
		return f, err
	}
	answer, err := m.offer(r.offer(true))
	if err != nil {
		return f, err
	}
	ice, err := iceOf(answer)
	f.ICE = append(f.ICE, ice)
	return f, err
}

// receive lets a peer join that gets what is sent.
func (r *room) receive(peer int) (ice mafalda.ICEParameters, ssrc uint32, err error) {
	m, err := r.join(fmt.Sprint("receiver", peer), false)
	if err != nil {
		return ice, 0, err
	}
	// It says how many streams it has for us when it is ready.
	if _, err := m.wait(responseSections); err != nil {
		return ice, 0, err
	}
	answer, err := m.offer(r.offer(false))
	if err != nil {
		return ice, 0, err
	}
	if ice, err = iceOf(answer); err != nil {
		return ice, 0, err
	}
	ssrc, err = ssrcOf(answer)
	return ice, ssrc, err
}

func (r *room) join(name string, publishes bool) (*member, error) {
	m, err := joinRoom(name, publishes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members = append(r.members, m)
	return m, nil
}

func (r *room) close() {
	for _, m := range r.members {
		m.conn.Close()
	}
}

const offerHead = `v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
a=msid-semantic: WMS *
m=video 9 UDP/TLS/RTP/SAVPF %[1]d %[2]d
c=IN IP4 0.0.0.0
a=rtcp-mux
a=rtcp-rsize
a=mid:0
a=ice-ufrag:%[3]s
a=ice-pwd:%[4]s
a=fingerprint:%[5]s %[6]s
a=setup:active
a=rtpmap:%[1]d VP8/90000
a=rtcp-fb:%[1]d nack
a=rtcp-fb:%[1]d nack pli
a=rtcp-fb:%[1]d ccm fir
a=rtcp-fb:%[1]d goog-remb
a=rtcp-fb:%[1]d transport-cc
a=rtpmap:%[2]d rtx/90000
a=fmtp:%[2]d apt=%[1]d
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
`

const offerSending = `a=sendonly
a=msid:stream ` + trackID + `
a=ssrc-group:FID %[1]d %[2]d
a=ssrc:%[1]d cname:sender
a=ssrc:%[2]d cname:sender
`

// offer is that of a peer. Its candidate is what the server sees its checks come
// from.
func (r *room) offer(sends bool) string {
	f := r.host.Fingerprint()
	s := fmt.Sprintf(offerHead, harness.ForeignPayloadType, harness.ForeignPayloadType+1,
		harness.PeerUfrag, harness.PeerPassword, f.Algorithm, f.Value)
	if sends {
		s += fmt.Sprintf(offerSending, harness.ForeignSSRC, harness.ForeignSSRC+1)
	} else {
		s += "a=recvonly\n"
	}
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// iceOf takes what a peer has to know of ICE from an answer.
func iceOf(answer string) (mafalda.ICEParameters, error) {
	p := mafalda.ICEParameters{
		UsernameFragment: attributeOf(answer, "ice-ufrag:"), Password: attributeOf(answer, "ice-pwd:"), ICELite: true,
	}
	if p.UsernameFragment == "" || p.Password == "" {
		return p, fmt.Errorf("an answer without ICE:\n%s", answer)
	}
	return p, nil
}

// ssrcOf takes that of what the server is going to send from an answer.
func ssrcOf(answer string) (uint32, error) {
	text, _, _ := strings.Cut(attributeOf(answer, "ssrc:"), " ")
	ssrc, err := strconv.ParseUint(text, 10, 32)
	if attributeOf(answer, "ssrc-group:FID ") == "" {
		return 0, fmt.Errorf("an answer without RTX:\n%s", answer)
	}
	if err != nil || ssrc == 0 {
		return 0, fmt.Errorf("an answer without a stream:\n%s", answer)
	}
	return uint32(ssrc), nil
}

// attributeOf returns what follows the name of the first such attribute.
func attributeOf(sdp, name string) string {
	_, after, ok := strings.Cut(sdp, "\r\na="+name)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}
