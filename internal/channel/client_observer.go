package channel

import (
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

func (k *Call) CreateActiveSpeakerObserver(routerID, id string, interval time.Duration) error {
	return k.createObserver(routerID, id, request{
		method: fbs.MethodROUTER_CREATE_ACTIVESPEAKEROBSERVER, kind: fbs.RequestBodyRouterCreateActiveSpeakerObserverRequest,
		body: &fbs.RouterCreateActiveSpeakerObserverRequestT{
			RtpObserverId: id, Options: &fbs.ActiveSpeakerObserverOptionsT{Interval: shortMilliseconds(interval)},
		},
	})
}

func (k *Call) CreateAudioLevelObserver(routerID, id string, o engine.AudioLevelOptions) error {
	return k.createObserver(routerID, id, request{
		method: fbs.MethodROUTER_CREATE_AUDIOLEVELOBSERVER, kind: fbs.RequestBodyRouterCreateAudioLevelObserverRequest,
		body: &fbs.RouterCreateAudioLevelObserverRequestT{RtpObserverId: id, Options: &fbs.AudioLevelObserverOptionsT{
			MaxEntries: o.MaxEntries, Threshold: o.Threshold, Interval: shortMilliseconds(o.Interval),
		}},
	})
}

// shortMilliseconds returns d in ms, in the range of the protocol.
func shortMilliseconds(d time.Duration) uint16 { return uint16(min(max(d.Milliseconds(), 0), 1<<16-1)) }

func (k *Call) createObserver(routerID, id string, r request) error {
	r.id = routerID
	r.undo = func(k *Call) error { return k.closeObserver(routerID, id) }
	_, err := k.do(r)
	if err == nil {
		k.c.grow(id, routerID, "")
	}
	return err
}

func (k *Call) CloseRTPObserver(id string) error {
	return k.closeChild(id, func(router string) error { return k.closeObserver(router, id) })
}

func (k *Call) closeObserver(router, id string) error {
	return k.set(fbs.MethodROUTER_CLOSE_RTPOBSERVER, router, fbs.RequestBodyRouterCloseRtpObserverRequest,
		&fbs.RouterCloseRtpObserverRequestT{RtpObserverId: id})
}

func (k *Call) PauseRTPObserver(id string) error  { return k.plain(fbs.MethodRTPOBSERVER_PAUSE, id) }
func (k *Call) ResumeRTPObserver(id string) error { return k.plain(fbs.MethodRTPOBSERVER_RESUME, id) }

func (k *Call) AddRTPObserverProducer(id, producerID string) error {
	return k.set(fbs.MethodRTPOBSERVER_ADD_PRODUCER, id, fbs.RequestBodyRtpObserverAddProducerRequest,
		&fbs.RtpObserverAddProducerRequestT{ProducerId: producerID})
}

func (k *Call) RemoveRTPObserverProducer(id, producerID string) error {
	return k.set(fbs.MethodRTPOBSERVER_REMOVE_PRODUCER, id, fbs.RequestBodyRtpObserverRemoveProducerRequest,
		&fbs.RtpObserverRemoveProducerRequestT{ProducerId: producerID})
}
