package mafalda_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
)

// A form is what a source sends.
type form string

const (
	sound     form = "sound"     // Opus
	picture   form = "picture"   // VP8
	simulcast form = "simulcast" // VP8 in three streams of three temporal layers
	svc       form = "svc"       // VP9, L3T3
)

const levelID = 12 // the header extension with the audio level

// soakCodecs are those of the Routers.
func soakCodecs() []mafalda.RouterRTPCodecCapability {
	return []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP8", ClockRate: 90000},
		{Kind: mafalda.MediaKindVideo, MIMEType: "video/VP9", ClockRate: 90000},
	}
}

// An origin feeds a Producer. Each of its packets says whose it is, and which.
type origin struct {
	guest    *guest
	form     form
	tag      uint32
	producer mafalda.Producer
	write    func([]byte) error
	began    time.Time

	// Owned by the meeting.
	paused, gone bool

	top atomic.Int32 // how many streams it sends

	mu      sync.Mutex
	streams []*stream  // guarded by mu
	loss    int        // packets of a hundred that it loses; guarded by mu
	rng     *rand.Rand // guarded by mu
	dirty   bool       // a key frame was asked for; guarded by mu
}

type stream struct {
	ssrc, rtx      uint32
	seq, rtxSeq    uint16
	packets        uint64
	picture        uint16
	tl0            byte
	frames, octets uint32
	sent           [64][]byte // by sequence number
}

// options are what the Producer is made with.
func (s *origin) options() mafalda.ProducerOptions {
	if s.form == sound {
		o := audio(s.streams[0].ssrc)
		o.RTPParameters.HeaderExtensions = []mafalda.RTPHeaderExtensionParameters{{URI: mafalda.RTPHeaderExtensionSSRCAudioLevel, ID: levelID}}
		return o
	}
	o := video(0, "")
	o.RTPParameters.Encodings = nil
	for _, x := range s.streams {
		e := mafalda.RTPEncodingParameters{SSRC: x.ssrc, RTX: &mafalda.RTXParameters{SSRC: x.rtx}}
		switch s.form {
		case simulcast:
			e.ScalabilityMode = "L1T3"
		case svc:
			e.ScalabilityMode = "L3T3"
			o.RTPParameters.Codecs[0].MIMEType = "video/VP9"
		}
		o.RTPParameters.Encodings = append(o.RTPParameters.Encodings, e)
	}
	return o
}

func newOrigin(g *guest, f form, tag uint32, rng *rand.Rand) *origin {
	s := &origin{guest: g, form: f, tag: tag, began: time.Now(), rng: rng}
	n := 1
	if f == simulcast {
		n = 3
	}
	for i := range n {
		s.streams = append(s.streams, &stream{
			ssrc: tag<<4 + uint32(2*i), rtx: tag<<4 + uint32(2*i) + 1, seq: uint16(rng.Uint32()), picture: uint16(rng.Uint32()) & 0x7fff,
		})
	}
	s.top.Store(int32(n))
	return s
}

// beat sends what is due; n counts the calls.
func (s *origin) beat(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.dirty
	s.dirty = false
	var reports []rtcp.Packet
	for i, x := range s.streams[:s.top.Load()] {
		s.frame(x, i, key || x.frames%30 == 0)
		if n%5 == 0 { // twice a second, or more often
			reports = append(reports, &rtcp.SenderReport{
				SSRC: x.ssrc, NTPTime: ntpNow(), RTPTime: s.timestamp(i), PacketCount: uint32(x.packets), OctetCount: x.octets,
			})
		}
	}
	if b, err := rtcp.Marshal(reports); err == nil && len(reports) > 0 {
		s.guest.writeRTCP(b)
	}
}

func ntpNow() uint64 {
	const epoch = 2208988800
	now := time.Now()
	return uint64(now.Unix()+epoch)<<32 | uint64(now.Nanosecond())<<32/1e9
}

// timestamp is that of stream i now.
func (s *origin) timestamp(i int) uint32 {
	rate := int64(90)
	if s.form == sound {
		rate = 48
	}
	return uint32(i+1)<<28 + uint32(time.Since(s.began).Milliseconds()*rate)
}

// frame sends the next frame of a stream.
func (s *origin) frame(x *stream, i int, key bool) {
	ts := s.timestamp(i)
	temporal := [...]byte{0, 2, 1, 2}[x.frames%4]
	if key {
		temporal = 0
	}
	if x.frames++; temporal == 0 {
		x.tl0++
	}
	x.picture = (x.picture + 1) & 0x7fff
	switch s.form {
	case sound:
		s.packet(x, i, rtptest.Opus(8), ts, 111, true)
	case picture:
		s.packet(x, i, rtptest.VP8{KeyFrame: key, PictureIDBits: 15, PictureID: x.picture}.Payload(), ts, 96, true)
	case simulcast:
		s.packet(x, i, rtptest.VP8{
			KeyFrame: key, PictureIDBits: 15, PictureID: x.picture, HasTL0PICIDX: true, TL0PICIDX: x.tl0,
			HasLayers: true, TemporalLayer: temporal, SwitchingUp: true,
		}.Payload(), ts, 96, true)
	case svc:
		for layer := range byte(3) {
			s.packet(x, i, rtptest.VP9{
				KeyFrame: key, Start: true, End: true, PictureIDBits: 15, PictureID: x.picture, HasLayers: true,
				SpatialLayer: layer, InterLayer: layer > 0, TemporalLayer: temporal, SwitchingUp: true, TL0PICIDX: x.tl0,
			}.Payload(), ts, 96, layer == 2)
		}
	}
}

// markLen is the length of what is at the end of each payload: the tag of the
// source, the number of the stream, and that of the packet in it.
const markLen = 16

func appendMark(b []byte, tag, stream uint32, n uint64) []byte {
	b = binary.BigEndian.AppendUint32(b, tag)
	b = binary.BigEndian.AppendUint32(b, stream)
	return binary.BigEndian.AppendUint64(b, n)
}

func readMark(b []byte) (tag, stream uint32, n uint64, ok bool) {
	if len(b) < markLen {
		return 0, 0, 0, false
	}
	b = b[len(b)-markLen:]
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]), true
}

func (s *origin) packet(x *stream, i int, payload []byte, ts uint32, pt uint8, marker bool) {
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: marker, PayloadType: pt, SequenceNumber: x.seq, Timestamp: ts, SSRC: x.ssrc},
		Payload: appendMark(payload, s.tag, uint32(i), x.packets),
	}
	if s.form == sound {
		p.SetExtension(levelID, []byte{0x80 | byte(10+s.tag%20)})
	}
	b, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	x.sent[x.seq%64] = b
	x.seq++
	x.packets++
	x.octets += uint32(len(p.Payload))
	if s.rng.IntN(100) >= s.loss {
		s.write(b)
	}
}

// again sends once more what a NACK asks for.
func (s *origin) again(ssrc uint32, lost []uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.streams {
		if x.ssrc != ssrc {
			continue
		}
		for _, seq := range lost {
			b := x.sent[seq%64]
			if b == nil || binary.BigEndian.Uint16(b[2:]) != seq {
				continue
			}
			s.guest.m.h.again.Add(1)
			var p rtp.Packet
			if s.form != sound && p.Unmarshal(b) == nil {
				p.SSRC, p.PayloadType, p.SequenceNumber = x.rtx, 97, x.rtxSeq
				p.Payload = append(binary.BigEndian.AppendUint16(nil, seq), p.Payload...)
				x.rtxSeq++
				b, _ = p.Marshal()
			}
			s.write(b)
		}
	}
}

func (s *origin) keyFrame() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}

// A dataSource feeds a DataProducer.
type dataSource struct {
	guest    *guest
	tag      uint32
	stream   uint16
	producer mafalda.DataProducer

	paused, gone bool // owned by the meeting

	n uint64 // owned by the guest's beat
}

func (s *dataSource) beat() {
	b := appendMark(make([]byte, s.tag%300), s.tag, 0, s.n)
	s.n++
	if s.guest.data != nil {
		s.guest.data.Send(peer.Message{Stream: s.stream, PPID: 53, Data: b})
	} else {
		s.producer.Send(mafalda.DataMessage{Data: b})
	}
}
