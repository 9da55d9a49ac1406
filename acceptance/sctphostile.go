package acceptance

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var sctpHostileCases = []testCase{
	{
		name:        "SCTP/ForgedPackets",
		explanation: "on a PlainTransport packets with a wrong verification tag or checksum, ABORTs among them, do no harm (RFC 9260 §8.5)",
		upstream:    []string{"3.20.6"},
		run:         testSCTPForgedPackets,
	},
	{
		name:        "SCTP/CloseWhileBuffered",
		explanation: "a DataConsumer or transport that closes while messages wait tells no BufferedAmountLow, and does no harm to others",
		upstream:    []string{"3.21.2"},
		run:         testSCTPCloseWhileBuffered,
	},
}

// sctpPacket is a packet of one chunk between the ports of data channels.
func sctpPacket(tag uint32, kind, flags byte, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 5000)
	b = binary.BigEndian.AppendUint16(b, 5000)
	b = binary.BigEndian.AppendUint32(b, tag)
	b = append(b, 0, 0, 0, 0, kind, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(value)))
	b = append(b, value...)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func testSCTPForgedPackets(t *testing.T, s *suite) {
	r := s.room(t)
	tr := r.plain(t, mafalda.PlainTransportOptions{Comedia: true, SCTPOptions: withSCTP()})
	conn := dialUDP(t, tr.Tuple())
	d, err := peer.Associate(t.Context(), conn, true)
	e := newDataEnd(t, tr, d, err)
	p := produceData(t, tr, mafalda.DataProducerOptions{SCTPStreamParameters: stream(1)})
	_, heard := consumeDirect(t, r.direct(t), mafalda.DataConsumerOptions{DataProducerID: p.ID()})
	say := func(what string) {
		t.Helper()
		require.NoError(t, e.data.Send(peer.Message{Stream: 1, PPID: 51, Data: []byte(what)}))
		require.Equal(t, what, text(t, heard))
	}
	say("before")
	const abort, shutdown, shutdownComplete, sack, initiate = 6, 7, 14, 3, 1
	for _, tag := range []uint32{0, 1, 0xdeadbeef, 0xffffffff} {
		for _, forged := range [][]byte{
			sctpPacket(tag, abort, 0, nil),
			sctpPacket(tag, abort, 1, nil), // with the tag of the other direction
			sctpPacket(tag, shutdown, 0, make([]byte, 4)),
			sctpPacket(tag, shutdownComplete, 0, nil),
			sctpPacket(tag, shutdownComplete, 1, nil),
			sctpPacket(tag, sack, 0, make([]byte, 12)),
			sctpPacket(tag, initiate, 0, append([]byte{0, 0, 0, 9, 0, 1, 0, 0}, make([]byte, 8)...)),
		} {
			for _, spoilt := range []bool{false, true} {
				if spoilt {
					forged[8]++
				}
				_, err := conn.Write(forged)
				require.NoError(t, err)
			}
		}
		say("after")
	}
	require.Equal(t, mafalda.SCTPStateConnected, tr.SCTPState())
}

func testSCTPCloseWhileBuffered(t *testing.T, s *suite) {
	r := s.room(t)
	p := produceData(t, r.direct(t), mafalda.DataProducerOptions{})
	other := r.plainDataEnd(t, mafalda.PlainTransportOptions{})
	kept := consumeData(t, other.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID(), Subchannels: []uint16{7}})
	for _, whole := range []bool{false, true} {
		e := r.webRTCDataEnd(t)
		c := consumeData(t, e.transport, mafalda.DataConsumerOptions{DataProducerID: p.ID()})
		low := hear(t, &c.Events().BufferedAmountLow)
		require.NoError(t, c.SetBufferedAmountLowThreshold(t.Context(), 1000))
		waits := 0
		for waits < 500_000 {
			n, err := c.Send(t.Context(), mafalda.DataMessage{Data: make([]byte, 100_000)})
			require.NoError(t, err)
			waits = n
		}
		drain(low)
		if whole {
			require.NoError(t, e.transport.Close())
		} else {
			require.NoError(t, c.Close())
		}
		done(t, c)
		drain(low) // what was on its way when it closed
		require.NoError(t, p.Send(mafalda.DataMessage{Data: []byte("still there"), Subchannels: []uint16{7}}))
		require.Equal(t, "still there", string(message(t, other.data).Data))
		require.Empty(t, low)
	}
	require.False(t, kept.Closed())
}
