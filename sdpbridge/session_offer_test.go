package sdpbridge

import (
	"strings"
	"testing"

	"github.com/mafalda-sfu/mafalda"
	"github.com/stretchr/testify/require"
)

// answerTo returns an answer of a browser that accepts everything.
func answerTo(t testing.TB, offer string) *Description {
	t.Helper()
	d := mustParse(t, offer)
	d.ICELite = false
	for i := range d.Media {
		m := &d.Media[i]
		m.Direction = directionOf(m.Direction.Receives(), m.Direction.Sends())
		m.DTLS = mafalda.DTLSParameters{Role: mafalda.DTLSRoleClient, Fingerprints: []mafalda.DTLSFingerprint{
			{Algorithm: mafalda.FingerprintSHA256, Value: strings.TrimSuffix(strings.Repeat("CC:", 32), ":")},
		}}
		m.ICE = mafalda.ICEParameters{UsernameFragment: "peer", Password: "peerpeerpeerpeerpeerpeer"}
		m.Encodings = nil
	}
	return d
}

// published returns a Router with an audio and a video Producer.
func published(t testing.TB) (*fakeRouter, []string) {
	t.Helper()
	router := newFakeRouter(t)
	s, transport := newFakeSession(t, router, Options{})
	_, err := s.Answer(t.Context(), readSDP(t, "chromium-publish"))
	require.NoError(t, err)
	require.Len(t, transport.producers, 2)
	return router, []string{transport.producers[0].id, transport.producers[1].id}
}

func TestOfferGolden(t *testing.T) {
	router, producers := published(t)
	s, _ := newFakeSession(t, router, Options{})
	for _, id := range producers {
		_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id})
		require.NoError(t, err)
	}
	offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	offer = ssrcs.ReplaceAllString(originID.ReplaceAllString(offer, "o=- 1 "), "SSRC")
	if *update {
		writeGolden(t, "offer", offer)
	}
	require.Equal(t, readSDP(t, "offer"), offer)
}

// TestOfferProbator: there is one m-section for probation packets once there is
// video, unless its numbers mean something else or the peer rejected it.
func TestOfferProbator(t *testing.T) {
	router, producers := published(t)
	offered := func(s *Session) (mids []string, d *Description) {
		t.Helper()
		offer, err := s.Offer(t.Context())
		require.NoError(t, err)
		d = mustParse(t, offer)
		for _, m := range d.Media {
			mids = append(mids, m.MID)
		}
		return mids, answerTo(t, offer)
	}
	consume := func(s *Session, id string) {
		t.Helper()
		_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id})
		require.NoError(t, err)
	}
	s, _ := newFakeSession(t, router, Options{Probator: true})
	consume(s, producers[0])
	mids, answer := offered(s)
	require.Equal(t, []string{"s0"}, mids, "no video")
	require.NoError(t, s.SetAnswer(t.Context(), answer.String()))
	consume(s, producers[1])
	mids, answer = offered(s)
	require.Equal(t, []string{"s0", "s1", "probator"}, mids)
	require.Contains(t, answer.Bundle, "probator")
	require.NoError(t, s.SetAnswer(t.Context(), answer.String()))
	require.False(t, s.NegotiationNeeded())
	text, err := s.Offer(t.Context())
	require.NoError(t, err)
	ours := text[strings.Index(text, "a=mid:probator"):]
	for _, line := range []string{
		"a=sendonly", "a=rtpmap:127 VP8/90000", "a=rtcp-fb:127 transport-cc", "a=msid:- probator", "a=ssrc:1234 cname:probator",
		"a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid", "a=extmap:5 " + string(mafalda.RTPHeaderExtensionTransportWideCC),
	} {
		require.Contains(t, ours, line+"\r\n")
	}
	require.NotContains(t, ours, "rtx")

	answer = answerTo(t, text)
	answer.Media[2].Rejected = true
	require.NoError(t, s.SetAnswer(t.Context(), answer.String()))
	require.False(t, s.NegotiationNeeded())
	consume(s, producers[1])
	mids, _ = offered(s)
	require.Equal(t, []string{"s0", "s1", "s2"}, mids, "not again, and its m-line is of use")

	unwanted, _ := newFakeSession(t, router, Options{})
	consume(unwanted, producers[1])
	mids, _ = offered(unwanted)
	require.Equal(t, []string{"s0"}, mids)

	for name, taken := range map[string]*section{
		"payload type": {mid: "x", codecs: []mafalda.RTPCodecParameters{{PayloadType: 127}}},
		"MID":          {mid: "probator"},
	} {
		s, _ := newFakeSession(t, router, Options{Probator: true})
		consume(s, producers[1])
		s.sections = append(s.sections, taken)
		s.offerProbator()
		require.Len(t, s.waiting, 1, name)
	}
}

func TestSetAnswer(t *testing.T) {
	router, producers := published(t)
	s, transport := newFakeSession(t, router, Options{})
	for _, o := range []mafalda.ConsumerOptions{{ProducerID: producers[0]}, {ProducerID: producers[1]}, {ProducerID: producers[0], Paused: true}} {
		_, err := s.Consume(t.Context(), o)
		require.NoError(t, err)
	}
	offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	_, err = s.Offer(t.Context())
	require.ErrorIs(t, err, mafalda.ErrInvalidState)
	_, err = s.Answer(t.Context(), readSDP(t, "chromium-publish"))
	require.ErrorIs(t, err, mafalda.ErrInvalidState, "glare")

	answer := answerTo(t, offer)
	answer.Media[1].Rejected = true
	answer.Bundle = []string{"s0", "s2"}
	require.NoError(t, s.SetAnswer(t.Context(), answer.String()))
	require.Equal(t, mafalda.DTLSRoleClient, transport.connects[0].Role)
	require.False(t, transport.consumers[0].paused)
	require.True(t, transport.consumers[1].Closed())
	require.True(t, transport.consumers[2].paused, "as the application wants")

	err = s.SetAnswer(t.Context(), answer.String())
	require.ErrorIs(t, err, mafalda.ErrInvalidState)
}

// The m-line of a closed Consumer is taken again, but not that of the transport.
func TestOfferReusesMLines(t *testing.T) {
	router, producers := published(t)
	s, transport := newFakeSession(t, router, Options{})
	_, err := s.Offer(t.Context())
	require.ErrorIs(t, err, mafalda.ErrInvalidState)

	exchange := func(wantMIDs ...string) *Description {
		t.Helper()
		offer, err := s.Offer(t.Context())
		require.NoError(t, err)
		d := mustParse(t, offer)
		var mids []string
		for _, m := range d.Media {
			switch {
			case m.Rejected:
				mids = append(mids, "-")
			case m.Direction == Inactive:
				mids = append(mids, m.MID+"!")
			default:
				mids = append(mids, m.MID)
			}
		}
		require.Equal(t, wantMIDs, mids)
		require.NoError(t, s.SetAnswer(t.Context(), answerTo(t, offer).String()))
		require.False(t, s.NegotiationNeeded())
		return d
	}
	consume := func(id string) {
		t.Helper()
		_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id})
		require.NoError(t, err)
	}
	closeConsumer := func(i int) { require.NoError(t, transport.consumers[i].Close()) }

	consume(producers[0])
	consume(producers[1])
	consume(producers[1])
	exchange("s0", "s1", "s2")
	closeConsumer(0)
	closeConsumer(1)
	consume(producers[1])
	exchange("s0!", "-", "s2", "s3")
	consume(producers[0]) // audio does not take the m-line of video
	exchange("s0!", "-", "s2", "s3", "s4")
	consume(producers[1])
	d := exchange("s0!", "s5", "s2", "s3", "s4")
	require.Equal(t, "s0", d.Bundle[0])
	consume(producers[1])
	closeConsumer(len(transport.consumers) - 1)
	require.False(t, s.NegotiationNeeded(), "gone before anybody heard of it")
	exchange("s0!", "s5", "s2", "s3", "s4")
	require.Len(t, transport.connects, 1)
}

func TestSetAnswerRefuses(t *testing.T) {
	router, producers := published(t)
	cases := map[string]func(d *Description){
		"nothing":         func(d *Description) { d.Media = nil },
		"fewer":           func(d *Description) { d.Media = d.Media[:1] },
		"another MID":     func(d *Description) { d.Media[0].MID = "x" },
		"another type":    func(d *Description) { d.Media[0].Type = "video" },
		"actpass":         func(d *Description) { d.Media[0].DTLS.Role = mafalda.DTLSRoleAuto },
		"no setup":        func(d *Description) { d.Media[0].DTLS.Role = "" },
		"no fingerprint":  func(d *Description) { d.Media[0].DTLS.Fingerprints = nil },
		"no rtcp-mux":     func(d *Description) { d.Media[1].RTCPMux = false },
		"no ICE password": func(d *Description) { d.Media[0].ICE = mafalda.ICEParameters{} },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			s, transport := newFakeSession(t, router, Options{})
			for _, id := range producers {
				_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: id})
				require.NoError(t, err)
			}
			offer, err := s.Offer(t.Context())
			require.NoError(t, err)
			answer := answerTo(t, offer)
			change(answer)
			err = s.SetAnswer(t.Context(), answer.String())
			require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
			require.Empty(t, transport.connects)
			require.True(t, transport.consumers[0].paused)
			require.NoError(t, s.SetAnswer(t.Context(), answerTo(t, offer).String()), "the offer still waits")
		})
	}
}

// What a stranger put into its parameters does not get out of its line.
func TestOfferOfHostileProducer(t *testing.T) {
	router, producers := published(t)
	p := router.consumable[producers[1]]
	evil := "x\r\na=candidate:evil"
	p.MSID, p.RTCP.CNAME = evil, evil
	p.Codecs[0].Parameters = map[string]any{evil: 1, "k": evil, "list": []any{1}, "good": 1}
	router.consumable[producers[1]] = p
	s, _ := newFakeSession(t, router, Options{})
	_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[1]})
	if err != nil { // ORTC refuses a list
		delete(p.Codecs[0].Parameters, "list")
		_, err = s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[1]})
	}
	require.NoError(t, err)
	offer, err := s.Offer(t.Context())
	require.NoError(t, err)
	require.NotContains(t, offer, "evil")
	require.Contains(t, offer, "a=fmtp:101 good=1\r\n")
	require.Contains(t, offer, "a=msid:x consumer0\r\n")
}

// A peer that offered already is not sent anything under numbers that mean
// something else in its own m-sections.
func TestConsumeWithoutCollisions(t *testing.T) {
	router, producers := published(t)
	s, transport := newFakeSession(t, router, Options{})
	offer := readSDP(t, "chromium-publish") // with H264 under the number of the Router's VP8
	offer = offer[:strings.Index(offer, "m=video")] + strings.NewReplacer(
		" 96 97 102 103 104 107 108 109 114 115 116 117 39 40 45 46 98 99 100 101 ", " 101 ", ":108 ", ":101 ", ":101 ", ":99 ", "=108", "=101",
	).Replace(offer[strings.Index(offer, "m=video"):])
	_, err := s.Answer(t.Context(), offer)
	require.NoError(t, err)
	require.Equal(t, uint8(101), transport.producers[1].o.RTPParameters.Codecs[0].PayloadType)
	_, err = s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[1]})
	require.Error(t, err, "101 is H264 in the peer's section")
	c, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[0]})
	require.NoError(t, err)
	for _, e := range c.RTPParameters().HeaderExtensions {
		require.NotEqual(t, mafalda.RTPHeaderExtensionMID, e.URI, "the peer has MID under 4, the Router under 1")
	}
}

func TestConsumeRefusesMID(t *testing.T) {
	router, producers := published(t)
	s, _ := newFakeSession(t, router, Options{})
	_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[0], MID: "0"})
	require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
}

func TestClosedTransport(t *testing.T) {
	router, producers := published(t)
	s, transport := newFakeSession(t, router, Options{})
	_, err := s.Consume(t.Context(), mafalda.ConsumerOptions{ProducerID: producers[0]})
	require.NoError(t, err)
	require.NoError(t, transport.Close())
	_, err = s.Offer(t.Context())
	require.ErrorIs(t, err, mafalda.ErrClosed)
	require.ErrorIs(t, s.SetAnswer(t.Context(), ""), mafalda.ErrClosed)
	_, err = s.Answer(t.Context(), "")
	require.ErrorIs(t, err, mafalda.ErrClosed)
}
