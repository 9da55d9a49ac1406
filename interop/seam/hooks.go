package main

import "github.com/mafalda-sfu/mafalda"

// hook has every event of an object and of its observer logged, from now on.
func (p *player) hook(o any) {
	p.mu.Lock()
	known := p.hooked[o]
	p.hooked[o] = true
	p.mu.Unlock()
	if known {
		return
	}
	h := &hooks{p: p, on: p.nameOf(o)}
	if _, ok := o.(mafalda.Worker); ok {
		h.on = "" // is named later
		h.owner = o
	}
	switch o := o.(type) {
	case mafalda.Worker:
		e, x := o.Events(), o.Observer()
		watch(h, &e.Died, "died", one[error])
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.NewWebRTCServer, "newwebrtcserver", one[mafalda.WebRTCServer])
		watch(h, &x.NewRouter, "newrouter", one[mafalda.Router])
	case mafalda.WebRTCServer:
		e, x := o.Events(), o.Observer()
		watch(h, &e.WorkerClose, "workerclose", none)
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.WebRTCTransportHandled, "webrtctransporthandled", one[mafalda.WebRTCTransport])
		watch(h, &x.WebRTCTransportUnhandled, "webrtctransportunhandled", one[mafalda.WebRTCTransport])
	case mafalda.Router:
		e, x := o.Events(), o.Observer()
		watch(h, &e.WorkerClose, "workerclose", none)
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.NewTransport, "newtransport", one[mafalda.Transport])
		watch(h, &x.NewRTPObserver, "newrtpobserver", one[mafalda.RTPObserver])
	case mafalda.Transport:
		h.transport(o)
	case mafalda.Producer:
		e, x := o.Events(), o.Observer()
		watch(h, &e.TransportClose, "transportclose", none)
		watch(h, &e.Score, "score", one[[]mafalda.ProducerScore])
		watch(h, &e.VideoOrientationChange, "videoorientationchange", one[mafalda.ProducerVideoOrientation])
		watch(h, &e.Trace, "trace", one[mafalda.TraceEvent])
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.Pause, "pause", none)
		watch(h, &x.Resume, "resume", none)
		watch(h, &x.Score, "score", one[[]mafalda.ProducerScore])
		watch(h, &x.VideoOrientationChange, "videoorientationchange", one[mafalda.ProducerVideoOrientation])
		watch(h, &x.Trace, "trace", one[mafalda.TraceEvent])
	case mafalda.Consumer:
		e, x := o.Events(), o.Observer()
		watch(h, &e.TransportClose, "transportclose", none)
		watch(h, &e.ProducerClose, "producerclose", none)
		watch(h, &e.ProducerPause, "producerpause", none)
		watch(h, &e.ProducerResume, "producerresume", none)
		watch(h, &e.Score, "score", one[mafalda.ConsumerScore])
		watch(h, &e.LayersChange, "layerschange", layers)
		watch(h, &e.Trace, "trace", one[mafalda.TraceEvent])
		watch(h, &e.RTP, "rtp", one[[]byte])
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.Pause, "pause", none)
		watch(h, &x.Resume, "resume", none)
		watch(h, &x.Score, "score", one[mafalda.ConsumerScore])
		watch(h, &x.LayersChange, "layerschange", layers)
		watch(h, &x.Trace, "trace", one[mafalda.TraceEvent])
	case mafalda.DataProducer:
		e, x := o.Events(), o.Observer()
		watch(h, &e.TransportClose, "transportclose", none)
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.Pause, "pause", none)
		watch(h, &x.Resume, "resume", none)
	case mafalda.DataConsumer:
		e, x := o.Events(), o.Observer()
		watch(h, &e.TransportClose, "transportclose", none)
		watch(h, &e.DataProducerClose, "dataproducerclose", none)
		watch(h, &e.DataProducerPause, "dataproducerpause", none)
		watch(h, &e.DataProducerResume, "dataproducerresume", none)
		watch(h, &e.SCTPSendBufferFull, "sctpsendbufferfull", none)
		watch(h, &e.BufferedAmountLow, "bufferedamountlow", one[int])
		watch(h, &e.Message, "message", func(m mafalda.DataMessage) []any { return []any{m.Data, m.PPID} })
		h.observe()
		watch(h, &x.Close, "close", none)
		watch(h, &x.Pause, "pause", none)
		watch(h, &x.Resume, "resume", none)
	case mafalda.RTPObserver:
		h.rtpObserver(o)
	}
}

func (h *hooks) transport(o mafalda.Transport) {
	e, x := o.Events(), o.Observer()
	watch(h, &e.RouterClose, "routerclose", none)
	watch(h, &e.ListenServerClose, "listenserverclose", none)
	watch(h, &e.ICEStateChange, "icestatechange", one[mafalda.ICEState])
	watch(h, &e.ICESelectedTupleChange, "iceselectedtuplechange", one[mafalda.TransportTuple])
	watch(h, &e.DTLSStateChange, "dtlsstatechange", one[mafalda.DTLSState])
	watch(h, &e.SCTPStateChange, "sctpstatechange", one[mafalda.SCTPState])
	watch(h, &e.Tuple, "tuple", one[mafalda.TransportTuple])
	watch(h, &e.RTCPTuple, "rtcptuple", one[mafalda.TransportTuple])
	watch(h, &e.RTCP, "rtcp", one[[]byte])
	watch(h, &e.Trace, "trace", one[mafalda.TraceEvent])
	h.observe()
	watch(h, &x.Close, "close", none)
	watch(h, &x.NewProducer, "newproducer", one[mafalda.Producer])
	watch(h, &x.NewConsumer, "newconsumer", one[mafalda.Consumer])
	watch(h, &x.NewDataProducer, "newdataproducer", one[mafalda.DataProducer])
	watch(h, &x.NewDataConsumer, "newdataconsumer", one[mafalda.DataConsumer])
	watch(h, &x.ICEStateChange, "icestatechange", one[mafalda.ICEState])
	watch(h, &x.ICESelectedTupleChange, "iceselectedtuplechange", one[mafalda.TransportTuple])
	watch(h, &x.DTLSStateChange, "dtlsstatechange", one[mafalda.DTLSState])
	watch(h, &x.SCTPStateChange, "sctpstatechange", one[mafalda.SCTPState])
	watch(h, &x.Tuple, "tuple", one[mafalda.TransportTuple])
	watch(h, &x.RTCPTuple, "rtcptuple", one[mafalda.TransportTuple])
	watch(h, &x.Trace, "trace", one[mafalda.TraceEvent])
}

func (h *hooks) rtpObserver(o mafalda.RTPObserver) {
	e, x := o.Events(), o.Observer()
	watch(h, &e.RouterClose, "routerclose", none)
	watch(h, &e.Volumes, "volumes", volumes)
	watch(h, &e.Silence, "silence", none)
	watch(h, &e.DominantSpeaker, "dominantspeaker", dominant)
	h.observe()
	watch(h, &x.Close, "close", none)
	watch(h, &x.Pause, "pause", none)
	watch(h, &x.Resume, "resume", none)
	watch(h, &x.AddProducer, "addproducer", one[mafalda.Producer])
	watch(h, &x.RemoveProducer, "removeproducer", one[mafalda.Producer])
	watch(h, &x.Volumes, "volumes", volumes)
	watch(h, &x.Silence, "silence", none)
	watch(h, &x.DominantSpeaker, "dominantspeaker", dominant)
}

// hooks are the listeners of one object.
type hooks struct {
	p        *player
	on       string
	owner    any // a Worker
	observer bool
}

// observe makes what follows events of the observer.
func (h *hooks) observe() { h.observer = true }

func (h *hooks) name(observer bool) string {
	on := h.on
	if h.owner != nil {
		on = h.p.nameOf(h.owner)
	}
	if observer {
		on += ".observer"
	}
	return on
}

// watch logs one event; args makes mediasoup's arguments of its value.
func watch[T any](h *hooks, e *mafalda.Event[T], name string, args func(T) []any) {
	observer := h.observer
	e.On(func(v T) { h.p.emit(h.name(observer), name, args(v)...) })
}

func none(struct{}) []any { return nil }

func one[T any](v T) []any { return []any{v} }

// layers are undefined in mediasoup, not null, when there are none.
func layers(l *mafalda.ConsumerLayers) []any {
	if l == nil {
		return []any{nil}
	}
	return []any{l}
}

func volumes(list []mafalda.AudioLevelVolume) []any {
	var out []any
	for _, v := range list {
		out = append(out, map[string]any{"producer": map[string]string{"$object": v.Producer.ID()}, "volume": v.Volume})
	}
	return []any{out}
}

func dominant(s mafalda.DominantSpeaker) []any {
	return []any{map[string]any{"producer": map[string]string{"$object": s.Producer.ID()}}}
}
