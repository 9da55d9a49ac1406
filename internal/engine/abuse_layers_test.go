package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda/internal/rtcp"
	"github.com/mafalda-sfu/mafalda/internal/rtp"
	"github.com/mafalda-sfu/mafalda/internal/rtptest"
	"github.com/mafalda-sfu/mafalda/internal/twcc"
)

// A layerSiege is a sender of layers that does whatever it likes, and a receiver
// that reports whatever it likes.
type layerSiege struct {
	*layerWorld
	rng     *rand.Rand
	mime    string
	streams []hostileStream
	spatial int // of SVC; 1 for simulcast
	keyOnly bool
	held    [][]byte // packets that come late
	rec     *twcc.Recorder
	indexes map[uint32]map[int64]rtp.Packet // what was sent, by SSRC
	highest map[uint32]int64
	sentOut int
}

type hostileStream struct {
	ssrc, timestamp uint32
	seq, picture    uint16
	tl0             uint8
	frame           uint16
	silentUntil     time.Duration
}

func newLayerSiege(t *testing.T, seed uint64, mime, producerMode, consumerMode string, streams, spatial int) *layerSiege {
	s := &layerSiege{
		layerWorld: newLayerWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), mime: mime, spatial: spatial, rec: twcc.New(),
		indexes: map[uint32]map[int64]rtp.Packet{}, highest: map[uint32]int64{}, keyOnly: len(producerMode) > 4,
	}
	s.onNote = func(Notification) {}
	params := vp8Params(1, 0, "")
	params.Codecs[0].MimeType = mime
	params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{URI: uriDependency, ID: 8})
	params.Encodings = nil
	mapping := identity(params, 7)
	for i := range streams {
		ssrc := uint32(11 + i)
		params.Encodings = append(params.Encodings, Encoding{SSRC: ssrc, ScalabilityMode: producerMode})
		mapping.Encodings = append(mapping.Encodings, EncodingMapping{SSRC: ssrc, MappedSSRC: uint32(7 + i)})
		// All wrap soon.
		s.streams = append(s.streams, hostileStream{
			ssrc: ssrc, seq: 65_500, picture: 32_700, tl0: 250, timestamp: 1<<32 - 90_000, frame: 65_500,
		})
	}
	_, err := s.m.Produce("in", ProduceOptions{ID: "p", Kind: Video, RTPParameters: params, RTPMapping: mapping})
	require.NoError(t, err)
	s.d.onUDP = func(sock *virtualUDP, _ netip.AddrPort, b []byte) {
		if sock == s.sink && !rtcp.Is(b) {
			s.check(rtp.Packet(b))
		}
	}
	s.consumeAs("c", 21, consumerMode, false)
	s.consumeAs("pipe", 31, "", true)
	return s
}

func (s *layerSiege) consumeAs(id string, ssrc uint32, mode string, pipe bool) {
	p := s.m.producers["p"]
	params := vp8Params(1, 0, "")
	params.Codecs[0].MimeType = s.mime
	params.HeaderExtensions = append(params.HeaderExtensions, HeaderExtension{URI: uriDependency, ID: 8})
	params.Encodings = []Encoding{{SSRC: ssrc, RTXSSRC: ssrc + 100, ScalabilityMode: mode}}
	o := ConsumeOptions{ID: id, ProducerID: "p", Pipe: pipe}
	for i := range p.params.Encodings {
		o.ConsumableEncodings = append(o.ConsumableEncodings, Encoding{
			SSRC: uint32(7 + i), ScalabilityMode: p.params.Encodings[i].ScalabilityMode,
		})
		if pipe && i > 0 {
			params.Encodings = append(params.Encodings, Encoding{SSRC: ssrc + uint32(i)})
		}
	}
	o.RTPParameters = params
	_, err := s.m.Consume("out", o)
	require.NoError(s.t, err)
}

// check is the receiver: no two packets that differ may have one SRTP index, as
// it would work it out (RFC 3711 §3.3.1).
func (s *layerSiege) check(p rtp.Packet) {
	s.sentOut++
	_, ok := rtp.Parse(p)
	require.True(s.t, ok)
	if v := p.Extension(rtp.IDTransportWideCC); len(v) == 2 && s.rng.IntN(10) > 0 {
		s.rec.Received(s.d.now+20*time.Millisecond, binary.BigEndian.Uint16(v), 1)
	}
	ssrc, index := p.SSRC(), int64(p.SequenceNumber())
	if h, ok := s.highest[ssrc]; ok {
		index = h + int64(int16(p.SequenceNumber()-uint16(h)))
		s.highest[ssrc] = max(h, index)
	} else {
		s.indexes[ssrc] = map[int64]rtp.Packet{}
		s.highest[ssrc] = index
	}
	if before := s.indexes[ssrc][index]; before != nil { // sent again without RTX
		require.Equal(s.t, before, p, "two packets of SSRC %d have the index %d", ssrc, index)
	}
	s.indexes[ssrc][index] = p
}

// media makes one packet of a stream.
func (s *layerSiege) mediaOf(i int) []byte {
	rng, h := s.rng, &s.streams[i]
	h.seq++
	key, spatial, temporal := rng.IntN(12) == 0, rng.IntN(s.spatial), uint8(rng.IntN(3))
	if spatial == 0 || rng.IntN(20) == 0 {
		h.timestamp += 3000
		h.picture = (h.picture + 1) & 0x7fff
		if temporal == 0 {
			h.tl0++
		}
		h.frame++
	}
	switch rng.IntN(300) { // the sender is mad
	case 0:
		h.seq = uint16(rng.Uint32())
	case 1:
		h.timestamp = rng.Uint32()
	case 2:
		h.picture = uint16(rng.IntN(1 << 15))
	case 3:
		h.tl0 = uint8(rng.Uint32())
	case 4:
		h.frame = uint16(rng.Uint32())
	case 5:
		h.seq += uint16(rng.IntN(3000))
	case 6:
		h.silentUntil = s.d.now + time.Duration(rng.IntN(15))*time.Second
	}
	var payload []byte
	elements := []rtp.Element{{ID: 4, Value: []byte{1, 2, 3}}, {ID: 5, Value: []byte{0, 1}}}
	switch s.mime {
	case "video/VP8":
		payload = rtptest.VP8{
			KeyFrame: key, PictureIDBits: []int{15, 15, 15, 7, 0}[rng.IntN(5)], PictureID: h.picture, HasTL0PICIDX: rng.IntN(20) > 0,
			TL0PICIDX: h.tl0, HasLayers: rng.IntN(20) > 0, TemporalLayer: temporal, SwitchingUp: rng.IntN(2) == 0, Size: 20,
		}.Payload()
	case "video/VP9":
		payload = rtptest.VP9{
			KeyFrame: key, Start: rng.IntN(4) > 0, End: rng.IntN(4) > 0, PictureIDBits: []int{15, 15, 15, 7, 0}[rng.IntN(5)],
			PictureID: h.picture, HasLayers: rng.IntN(20) > 0, SpatialLayer: uint8(spatial), TemporalLayer: temporal,
			SwitchingUp: rng.IntN(2) == 0, TL0PICIDX: h.tl0, Size: 20,
		}.Payload()
		if rng.IntN(50) == 0 {
			payload[3] = byte(rng.Uint32()) // layers that there are not
		}
	case "video/H264":
		payload = rtptest.H264Delta(20)
		if key {
			payload = rtptest.H264Key(20)
		}
	default:
		payload = []byte{1, 2, 3, 4}
	}
	if s.mime == "video/AV1" || s.mime == "video/H264" && rng.IntN(2) == 0 {
		d := rtptest.Dependency{
			Start: rng.IntN(4) > 0, End: rng.IntN(4) > 0, SpatialLayer: spatial, TemporalLayer: int(temporal), Frame: h.frame,
			Structure: key, Spatial: s.spatial, Temporal: 3, KeyOnly: s.keyOnly, Template: 2*(3*spatial+int(temporal)) + rng.IntN(2),
		}
		if rng.IntN(30) == 0 {
			d.Spatial, d.Temporal, d.KeyOnly = 1+rng.IntN(4), 1+rng.IntN(4), false
			d.Structure = true
			d.SpatialLayer, d.TemporalLayer = rng.IntN(d.Spatial), rng.IntN(d.Temporal)
		}
		v := d.Value()
		if rng.IntN(20) == 0 {
			v[rng.IntN(len(v))] ^= 1 << rng.IntN(8)
		}
		elements = append(elements, rtp.Element{ID: 8, Value: v})
	}
	if rng.IntN(100) == 0 {
		payload = payload[:rng.IntN(len(payload))]
	}
	return append(rtp.AppendHeader(nil, rtp.Header{
		Marker: rng.IntN(2) == 0, PayloadType: 101, SequenceNumber: h.seq, Timestamp: h.timestamp, SSRC: h.ssrc,
	}, elements), payload...)
}

func (s *layerSiege) send() {
	i := s.rng.IntN(len(s.streams))
	if s.d.now < s.streams[i].silentUntil {
		return
	}
	b := s.mediaOf(i)
	switch s.rng.IntN(20) {
	case 0: // lost
		return
	case 1, 2:
		if len(s.held) < 60 {
			s.held = append(s.held, b)
			return
		}
	case 3: // twice
		s.udp(s.source, s.in, b)
	}
	s.udp(s.source, s.in, b)
	for len(s.held) > 0 && s.rng.IntN(8) == 0 {
		n := s.rng.IntN(len(s.held))
		s.udp(s.source, s.in, s.held[n])
		s.held = append(s.held[:n], s.held[n+1:]...)
	}
}

// reportAny is RTCP of either side.
func (s *layerSiege) reportAny() {
	rng := s.rng
	switch rng.IntN(6) {
	case 0, 1:
		h := &s.streams[rng.IntN(len(s.streams))]
		sr := rtcp.SenderReport{SSRC: h.ssrc, NTP: rtcp.NTP(time.Hour + s.d.now), RTPTimestamp: h.timestamp}
		if rng.IntN(4) == 0 {
			sr.NTP, sr.RTPTimestamp = rng.Uint64(), rng.Uint32()
		}
		s.udp(s.source, s.in, rtcp.AppendSenderReport(nil, sr))
	case 2:
		if f, ok := s.rec.Next(nil); ok {
			if rng.IntN(5) == 0 {
				f[8+rng.IntN(len(f)-8)] ^= 1 << rng.IntN(8)
			}
			s.udp(s.sink, s.out, f)
		}
	case 3:
		s.udp(s.sink, s.out, rtcp.AppendREMB(nil, 1, 0, []uint64{0, 1, 30_000, 1_000_000, 1 << 60}[rng.IntN(5)], []uint32{21}))
	default:
		ssrc := []uint32{21, 31, 32}[rng.IntN(3)]
		s.udp(s.sink, s.out, rtcp.AppendNACK(nil, 1, ssrc, []uint16{uint16(s.highest[ssrc]) - uint16(rng.IntN(300)), uint16(s.highest[ssrc])}))
		s.udp(s.sink, s.out, hostileRTCP(rng, nil, uint16(s.highest[21])))
	}
}

// order is what the application wants.
func (s *layerSiege) order() {
	rng := s.rng
	var err error
	switch rng.IntN(7) {
	case 0:
		_, err = s.m.SetPreferredLayers("c", layersOf(int8(rng.IntN(4)), int8(rng.IntN(4))-1))
	case 1:
		err = s.m.PauseConsumer("c")
	case 2:
		err = s.m.ResumeConsumer("c")
	case 3:
		err = s.m.PauseProducer("p")
	case 4:
		err = s.m.ResumeProducer("p")
	case 5:
		err = s.m.RequestKeyFrame("c")
	case 6:
		err = s.m.SetPriority("c", uint8(1+rng.IntN(255)))
	}
	require.NoError(s.t, err)
	if rng.IntN(2) == 0 {
		require.NoError(s.t, s.m.ResumeProducer("p"))
		require.NoError(s.t, s.m.ResumeConsumer("c"))
	}
}

// TestAbuseLayers: layers are switched while their packets are lost, come late,
// twice or not at all, all their numbers wrap or jump, and reports lie.
func TestAbuseLayers(t *testing.T) {
	for _, c := range []struct {
		name, mime, producer, consumer string
		streams, spatial               int
	}{
		{"VP8 simulcast", "video/VP8", "L1T3", "L3T3", 3, 1},
		{"H264 simulcast", "video/H264", "L1T3", "L3T3", 3, 1},
		{"VP8 temporal", "video/VP8", "L1T3", "L1T3", 1, 1},
		{"VP9", "video/VP9", "L3T3", "L3T3", 1, 3},
		{"VP9 K-SVC", "video/VP9", "L3T3_KEY", "L3T3_KEY", 1, 3},
		{"AV1", "video/AV1", "L3T3", "L3T3", 1, 3},
		{"AV1 K-SVC", "video/AV1", "L3T3_KEY", "L3T3_KEY", 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(much(3, 100)) {
				s := newLayerSiege(t, seed, c.mime, c.producer, c.consumer, c.streams, c.spatial)
				for range 6000 {
					s.send()
					switch s.rng.IntN(12) {
					case 0:
						s.reportAny()
					case 1, 2, 3:
						s.advance(s.d.now + time.Duration(s.rng.IntN(40))*time.Millisecond)
					}
					if s.rng.IntN(150) == 0 {
						s.order()
					}
					if s.rng.IntN(2000) == 0 {
						s.advance(s.d.now + 12*time.Second)
					}
				}
				require.Greater(t, s.sentOut, 100, "seed %d", seed)
				require.NoError(t, s.m.CloseRouter("r"))
				require.Zero(t, s.m.pool.InUse(), "packets in use after closing")
				_, ok := s.m.wheel.Next()
				require.False(t, ok, "a timer is left after closing")
			}
		})
	}
}
