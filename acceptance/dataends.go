package acceptance

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

// withSCTP are options that turn SCTP on.
func withSCTP() mafalda.SCTPOptions { return mafalda.SCTPOptions{EnableSCTP: true} }

// dataTransport is a WebRTCTransport with SCTP to nobody.
func (r *room) dataTransport(t testing.TB) mafalda.WebRTCTransport {
	t.Helper()
	o := overUDP()
	o.SCTPOptions = withSCTP()
	return r.webRTC(t, o)
}

// stream are the parameters of a stream.
func stream(id uint16) *mafalda.SCTPStreamParameters {
	return &mafalda.SCTPStreamParameters{StreamID: id}
}

func produceData(t testing.TB, tr mafalda.Transport, o mafalda.DataProducerOptions) mafalda.DataProducer {
	t.Helper()
	p, err := tr.ProduceData(t.Context(), o)
	require.NoError(t, err)
	return p
}

func consumeData(t testing.TB, tr mafalda.Transport, o mafalda.DataConsumerOptions) mafalda.DataConsumer {
	t.Helper()
	c, err := tr.ConsumeData(t.Context(), o)
	require.NoError(t, err)
	return c
}

// consumeDirect makes a DataConsumer on a DirectTransport, and what it hears.
func consumeDirect(t testing.TB, tr mafalda.Transport, o mafalda.DataConsumerOptions) (mafalda.DataConsumer, <-chan mafalda.DataMessage) {
	t.Helper()
	c := consumeData(t, tr, o)
	return c, hear(t, &c.Events().Message)
}

// text receives a message and returns what is in it.
func text(t testing.TB, from <-chan mafalda.DataMessage) string {
	t.Helper()
	return string(receive(t, from, "a message").Data)
}

// message receives a message of the far side of SCTP.
func message(t testing.TB, d *peer.Data) peer.Message {
	t.Helper()
	return receive(t, d.Messages(), "a message")
}

// A dataEnd is an endpoint with data, and the transport to it.
type dataEnd struct {
	transport sctpTransport
	data      *peer.Data
}

// sctpTransport is what the Transports with SCTP have in common.
type sctpTransport interface {
	mafalda.Transport
	SCTPParameters() *mafalda.SCTPParameters
	SCTPState() mafalda.SCTPState
	SCTPNegotiatedCapabilities() *mafalda.SCTPNegotiatedCapabilities
}

func newDataEnd(t testing.TB, tr sctpTransport, d *peer.Data, err error) *dataEnd {
	t.Helper()
	require.NoError(t, err)
	t.Cleanup(d.Close)
	eventually(t, "SCTP is connected on our side too", func() bool {
		return tr.SCTPState() == mafalda.SCTPStateConnected
	})
	return &dataEnd{tr, d}
}

// plainDataEnd connects an endpoint to a new PlainTransport, over UDP without
// DTLS. It sends the INIT.
func (r *room) plainDataEnd(t testing.TB, o mafalda.PlainTransportOptions) *dataEnd {
	t.Helper()
	o.Comedia = true
	o.EnableSCTP = true
	tr := r.plain(t, o)
	d, err := peer.Associate(t.Context(), dialUDP(t, tr.Tuple()), true)
	return newDataEnd(t, tr, d, err)
}

// dialUDP returns a socket that is connected to the local part of a tuple.
func dialUDP(t testing.TB, tuple mafalda.TransportTuple) *net.UDPConn {
	t.Helper()
	ip, err := netip.ParseAddr(tuple.LocalAddress)
	require.NoError(t, err)
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, tuple.LocalPort)))
	require.NoError(t, err)
	require.NoError(t, c.SetReadBuffer(1<<20))
	t.Cleanup(func() { c.Close() })
	return c
}

// webRTCDataEnd connects an endpoint to a new WebRTCTransport. It sends the INIT.
func (r *room) webRTCDataEnd(t testing.TB) *dataEnd {
	t.Helper()
	tr := r.dataTransport(t)
	e := dial(t, tr, peer.Config{})
	d, err := e.peer.Data(t.Context(), true)
	return newDataEnd(t, tr, d, err)
}
