package main

import "github.com/mafalda-sfu/mafalda"

// isObject reports whether v is an object of the API.
func isObject(v any) bool {
	_, ok := v.(mafalda.Lifetime)
	return ok
}

// state returns the getters of o under their names in mediasoup.
func state(o any) map[string]any {
	if s, ok := o.(*socket); ok {
		return map[string]any{"port": s.port()}
	}
	m := map[string]any{"closed": o.(mafalda.Lifetime).Closed()}
	put := func(key string, v any, has bool) {
		if has {
			m[key] = v
		}
	}
	if h, ok := o.(mafalda.AppDataHolder); ok {
		data := h.AppData()
		put("appData", data, data != nil)
	}
	if w, ok := o.(mafalda.Worker); ok {
		m["pid"], m["died"] = w.PID(), w.Died()
		return m
	}
	if o, ok := o.(interface{ ID() string }); ok {
		m["id"] = o.ID()
	}
	if o, ok := o.(interface {
		SCTPParameters() *mafalda.SCTPParameters
		SCTPState() mafalda.SCTPState
		SCTPNegotiatedCapabilities() *mafalda.SCTPNegotiatedCapabilities
	}); ok {
		p, s, n := o.SCTPParameters(), o.SCTPState(), o.SCTPNegotiatedCapabilities()
		put("sctpParameters", p, p != nil)
		put("sctpState", s, s != "")
		put("sctpNegotiatedCapabilities", n, n != nil)
	}
	switch o := o.(type) {
	case mafalda.Router:
		m["rtpCapabilities"] = o.RTPCapabilities()
	case mafalda.WebRTCTransport:
		m["type"] = o.Type()
		m["iceRole"], m["iceState"], m["iceParameters"], m["iceCandidates"] = o.ICERole(), o.ICEState(), o.ICEParameters(), o.ICECandidates()
		m["dtlsParameters"], m["dtlsState"] = o.DTLSParameters(), o.DTLSState()
		put("iceSelectedTuple", o.ICESelectedTuple(), o.ICESelectedTuple() != nil)
		put("dtlsRemoteCert", o.DTLSRemoteCert(), o.DTLSRemoteCert() != "")
	case mafalda.PlainTransport:
		m["type"], m["tuple"] = o.Type(), o.Tuple()
		put("rtcpTuple", o.RTCPTuple(), o.RTCPTuple() != nil)
		put("srtpParameters", o.SRTPParameters(), o.SRTPParameters() != nil)
	case mafalda.PipeTransport:
		m["type"], m["tuple"] = o.Type(), o.Tuple()
		put("srtpParameters", o.SRTPParameters(), o.SRTPParameters() != nil)
	case mafalda.Transport:
		m["type"] = o.Type()
	case mafalda.Producer:
		m["kind"], m["type"], m["paused"] = o.Kind(), o.Type(), o.Paused()
		m["rtpParameters"], m["score"] = o.RTPParameters(), o.Score()
	case mafalda.Consumer:
		m["producerId"], m["kind"], m["type"] = o.ProducerID(), o.Kind(), o.Type()
		m["paused"], m["producerPaused"], m["priority"] = o.Paused(), o.ProducerPaused(), o.Priority()
		m["rtpParameters"], m["score"] = o.RTPParameters(), o.Score()
		put("preferredLayers", o.PreferredLayers(), o.PreferredLayers() != nil)
		put("currentLayers", o.CurrentLayers(), o.CurrentLayers() != nil)
	case mafalda.DataProducer:
		m["type"], m["paused"], m["label"], m["protocol"] = o.Type(), o.Paused(), o.Label(), o.Protocol()
		put("sctpStreamParameters", o.SCTPStreamParameters(), o.SCTPStreamParameters() != nil)
	case mafalda.DataConsumer:
		m["dataProducerId"], m["type"], m["label"], m["protocol"] = o.DataProducerID(), o.Type(), o.Label(), o.Protocol()
		m["paused"], m["dataProducerPaused"], m["subchannels"] = o.Paused(), o.DataProducerPaused(), o.Subchannels()
		put("sctpStreamParameters", o.SCTPStreamParameters(), o.SCTPStreamParameters() != nil)
	case mafalda.RTPObserver:
		m["type"], m["paused"] = o.Type(), o.Paused()
	}
	return m
}
