package channel

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/channel/fbs"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

// plain does a request without body and result.
func (k *Call) plain(m fbs.Method, id string) error {
	_, err := k.do(request{method: m, id: id})
	return err
}

// set does a request without result.
func (k *Call) set(m fbs.Method, id string, kind fbs.RequestBody, body any) error {
	_, err := k.do(request{method: m, id: id, kind: kind, body: body})
	return err
}

// ask returns the body of a response as what it is.
func ask[T any](k *Call, r request) (T, error) {
	body, err := k.do(r)
	if err != nil {
		var none T
		return none, err
	}
	return body.(T), nil
}

// gone is the error of something that has no parent any more.
func gone(id string) error { return fmt.Errorf("%q: %w", id, engine.ErrNotFound) }

// CreateWebRTCServer is that of [engine.Machine], and so are the other methods.
func (k *Call) CreateWebRTCServer(id string, infos []engine.ListenInfo) error {
	_, err := k.do(request{
		method: fbs.MethodWORKER_CREATE_WEBRTCSERVER, kind: fbs.RequestBodyWorkerCreateWebRtcServerRequest,
		body:  &fbs.WorkerCreateWebRtcServerRequestT{WebRtcServerId: id, ListenInfos: each(infos, listenInfoOf)},
		undo:  func(k *Call) error { return k.CloseWebRTCServer(id) },
		class: engine.ErrUnavailable,
	})
	if err == nil {
		k.c.grow(id, "", "")
	}
	return err
}

func (k *Call) CloseWebRTCServer(id string) error {
	k.c.forget(id)
	return k.set(fbs.MethodWORKER_WEBRTCSERVER_CLOSE, "", fbs.RequestBodyWorkerCloseWebRtcServerRequest,
		&fbs.WorkerCloseWebRtcServerRequestT{WebRtcServerId: id})
}

func (k *Call) CreateRouter(id string) error {
	_, err := k.do(request{
		method: fbs.MethodWORKER_CREATE_ROUTER, kind: fbs.RequestBodyWorkerCreateRouterRequest,
		body: &fbs.WorkerCreateRouterRequestT{RouterId: id},
		undo: func(k *Call) error { return k.CloseRouter(id) },
	})
	if err == nil {
		k.c.grow(id, "", "")
	}
	return err
}

func (k *Call) CloseRouter(id string) error {
	k.c.forget(id)
	return k.set(fbs.MethodWORKER_CLOSE_ROUTER, "", fbs.RequestBodyWorkerCloseRouterRequest,
		&fbs.WorkerCloseRouterRequestT{RouterId: id})
}

// UpdateSettings changes the log of the worker: an empty level and nil tags
// leave what there is.
func (k *Call) UpdateSettings(level string, tags []string) error {
	return k.set(fbs.MethodWORKER_UPDATE_SETTINGS, "", fbs.RequestBodyWorkerUpdateSettingsRequest,
		&fbs.WorkerUpdateSettingsRequestT{LogLevel: level, LogTags: tags})
}

func (k *Call) Dump() (engine.DumpWorker, error) {
	d, err := ask[*fbs.WorkerDumpResponseT](k, request{
		method: fbs.MethodWORKER_DUMP, want: fbs.ResponseBodyWorkerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.DumpWorker{}, err
	}
	return engine.DumpWorker{
		WebRTCServerIDs: d.WebRtcServerIds, RouterIDs: d.RouterIds,
		RequestHandlers:      d.ChannelMessageHandlers.ChannelRequestHandlers,
		NotificationHandlers: d.ChannelMessageHandlers.ChannelNotificationHandlers,
	}, nil
}

func (k *Call) Usage() (engine.Usage, error) {
	u, err := ask[*fbs.WorkerResourceUsageResponseT](k, request{
		method: fbs.MethodWORKER_GET_RESOURCE_USAGE, want: fbs.ResponseBodyWorkerResourceUsageResponse, quiet: true,
	})
	if err != nil {
		return engine.Usage{}, err
	}
	return engine.Usage{
		User: duration(u.RuUtime), System: duration(u.RuStime),
		MaxRSS: u.RuMaxrss, MinorFaults: u.RuMinflt, MajorFaults: u.RuMajflt,
		InBlock: u.RuInblock, OutBlock: u.RuOublock, VoluntaryCS: u.RuNvcsw, InvoluntaryCS: u.RuNivcsw,
	}, nil
}

func (k *Call) DumpWebRTCServer(id string) (engine.DumpWebRTCServer, error) {
	d, err := ask[*fbs.WebRtcServerDumpResponseT](k, request{
		method: fbs.MethodWEBRTCSERVER_DUMP, id: id, want: fbs.ResponseBodyWebRtcServerDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.DumpWebRTCServer{}, err
	}
	out := engine.DumpWebRTCServer{
		ID: d.Id, UDPSockets: addrPorts(d.UdpSockets), TCPServers: addrPorts(d.TcpServers), TransportIDs: d.WebRtcTransportIds,
	}
	for _, u := range d.LocalIceUsernameFragments {
		out.Ufrags = append(out.Ufrags, engine.UfragOwner{Ufrag: u.LocalIceUsernameFragment, TransportID: u.WebRtcTransportId})
	}
	return out, nil
}

func addrPorts(list []*fbs.IpPortT) []netip.AddrPort {
	out := make([]netip.AddrPort, len(list))
	for i, p := range list {
		a, _ := netip.ParseAddr(p.Ip) // what is no address is shown as none
		out[i] = netip.AddrPortFrom(a, p.Port)
	}
	return out
}

func (k *Call) DumpRouter(id string) (engine.DumpRouter, error) {
	d, err := ask[*fbs.RouterDumpResponseT](k, request{
		method: fbs.MethodROUTER_DUMP, id: id, want: fbs.ResponseBodyRouterDumpResponse, quiet: true,
	})
	if err != nil {
		return engine.DumpRouter{}, err
	}
	producers := producerConsumers(d.MapProducerIdConsumerIds)
	for i := range producers {
		for _, o := range d.MapProducerIdObserverIds {
			if o.Key == producers[i].ProducerID {
				producers[i].ObserverIDs = o.Values
			}
		}
	}
	return engine.DumpRouter{
		ID:            d.Id,
		TransportIDs:  d.TransportIds,
		ObserverIDs:   d.RtpObserverIds,
		Producers:     producers,
		Consumers:     consumerProducers(d.MapConsumerIdProducerId),
		DataProducers: producerConsumers(d.MapDataProducerIdDataConsumerIds),
		DataConsumers: consumerProducers(d.MapDataConsumerIdDataProducerId),
	}, nil
}

func producerConsumers(list []*fbs.StringStringArrayT) []engine.ProducerConsumers {
	out := make([]engine.ProducerConsumers, len(list))
	for i, p := range list {
		out[i] = engine.ProducerConsumers{ProducerID: p.Key, ConsumerIDs: p.Values}
	}
	return out
}

func consumerProducers(list []*fbs.StringStringT) []engine.ConsumerProducer {
	out := make([]engine.ConsumerProducer, len(list))
	for i, p := range list {
		out[i] = engine.ConsumerProducer{ConsumerID: p.Key, ProducerID: p.Value}
	}
	return out
}

func listenInfoOf(l *engine.ListenInfo) *fbs.ListenInfoT {
	out := &fbs.ListenInfoT{
		Protocol:         fbs.ProtocolUDP,
		Ip:               l.IP.String(),
		AnnouncedAddress: l.AnnouncedAddress,
		ExposeInternalIp: l.ExposeInternalIP,
		Port:             l.Port,
		PortRange:        &fbs.PortRangeT{Min: l.PortMin, Max: l.PortMax},
		Flags:            &fbs.SocketFlagsT{Ipv6Only: l.IPv6Only, UdpReusePort: l.UDPReusePort},
		SendBufferSize:   uint32(max(0, l.SendBufferSize)),
		RecvBufferSize:   uint32(max(0, l.RecvBufferSize)),
	}
	if l.Protocol == engine.TCP {
		out.Protocol = fbs.ProtocolTCP
	}
	return out
}

// seconds rounds down to what a byte holds.
func seconds(d time.Duration) uint8 { return uint8(min(max(d, 0)/time.Second, 255)) }
