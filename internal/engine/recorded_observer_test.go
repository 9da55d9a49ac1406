package engine

import (
	"fmt"
	"time"
)

// three has three audio Producers, and an RTP observer of all of them.
func three(observe func(s *session, id string) error) func(*session) {
	return func(s *session) {
		src := s.connect("src", false)
		for i := range uint32(3) {
			id, ssrc := fmt.Sprintf("A%d", i), 4001+i
			s.names[id], s.labels[ssrc] = id, fmt.Sprintf("in%d", ssrc)
			media := recordedCodecs["opus"]
			params := RTPParameters{
				CNAME: recordedCNAME, Codecs: []CodecParameters{media}, Encodings: []Encoding{{SSRC: ssrc}},
				HeaderExtensions: []HeaderExtension{{URI: uriAudioLevel, ID: 9}},
			}
			s.require(produceOn(s.m, src.name, ProduceOptions{
				ID: id, Kind: Audio, RTPParameters: params, RTPMapping: RTPMapping{
					Codecs:    []CodecMapping{{media.PayloadType, recordedMapping[media.PayloadType]}},
					Encodings: []EncodingMapping{{SSRC: ssrc, MappedSSRC: recordedMapped + i}},
				},
			}))
		}
		s.turn(s.start - 31*time.Millisecond)
		s.names["obs"] = "obs"
		s.require(observe(s, "obs"))
		for i := range 3 {
			s.require(s.m.AddRTPObserverProducer("obs", fmt.Sprintf("A%d", i)))
		}
	}
}

func audioLevels(o AudioLevelOptions) func(*session) {
	return three(func(s *session, id string) error { return s.m.CreateAudioLevelObserver(recordedRouter, id, o) })
}

func activeSpeaker(interval time.Duration) func(*session) {
	return three(func(s *session, id string) error {
		return s.m.CreateActiveSpeakerObserver(recordedRouter, id, interval)
	})
}

// notedOfObserver turns a notification of an RTP observer into an event of the
// recording.
func (s *session) notedOfObserver(name string, body any) bool {
	switch b := body.(type) {
	case DominantSpeaker:
		s.event(name+".dominantspeaker", s.names[b.ProducerID])
	case AudioVolumes:
		list := []any{}
		for _, v := range b.Volumes {
			list = append(list, []any{s.names[v.ProducerID], num(int(v.Volume))})
		}
		s.event(name+".volumes", list)
	case AudioSilence:
		s.event(name+".silence", nil)
	default:
		return false
	}
	return true
}
