package mafalda

import (
	"context"
	"time"

	"github.com/mafalda-sfu/mafalda/internal/driver"
	"github.com/mafalda-sfu/mafalda/internal/engine"
)

var _ CounterReporter = (*worker)(nil)

// Counters implements [CounterReporter].
func (w *worker) Counters(ctx context.Context) (Counters, error) {
	type reading struct {
		loop engine.Counters
		net  driver.Stats
	}
	r, err := ask(ctx, &w.object, "Counters", onEngine(func(m *engine.Machine) (reading, error) {
		loop, net, err := m.Counters()
		return reading{loop, net}, err
	}))
	if err != nil {
		return Counters{}, err
	}
	return counters(&r.loop, &r.net), nil
}

// counters puts together what the engine and its driver counted.
func counters(loop *engine.Counters, net *driver.Stats) Counters {
	c := Counters{
		PacketsReceived: loop.PacketsIn,
		BytesReceived:   loop.BytesIn,
		PacketsSent:     net.PacketsOut,
		BytesSent:       net.BytesOut,
		RTPPacketsSent:  loop.PacketsOut,
		RTPBytesSent:    loop.BytesOut,
		ReceiveCalls:    net.RecvCalls,
		SendCalls:       net.SendCalls,
		WaitCalls:       net.Waits,
		Wakes:           net.Wakes,
		GSOMessages:     net.GSOMessages,
		GSOSegments:     net.GSOSegments,
		GROMessages:     net.GRORuns,
		GROSegments:     net.GROSegments,
		Drops: map[DropReason]uint64{
			DropUnknownTuple:  loop.DropUnknownTuple,
			DropUnknownKind:   loop.DropUnknownKind,
			DropNotConnected:  loop.DropNotConnected,
			DropSRTP:          loop.DropSRTP,
			DropMalformed:     loop.DropMalformed,
			DropUnknownStream: loop.DropUnknownStream,
			DropNoMemory:      loop.DropNoSlot,
			DropDTLS:          loop.DropDTLS,
			DropDirect:        loop.DropDirect,
			DropSCTP:          loop.DropSCTP,
			DropData:          loop.DropData,
			DropPipe:          loop.DropLane,
			DropTooLarge:      net.DropTruncated + net.DropTooLong + loop.DropTooLarge,
			DropDestination:   net.DropDest,
			DropNoBuffer:      net.DropNoBuffer,
			DropSendError:     net.DropSendError,
			DropTCPQueue:      net.DropTCPQueue,
			DropAccept:        net.DropAccept,
		},
		Turns:       loop.Turns,
		TurnLengths: make([]TurnLength, len(loop.TurnLength)),
		MaxTurn:     loop.MaxTurn,
	}
	for i, n := range loop.TurnLength {
		c.TurnLengths[i] = TurnLength{Below: 16 * time.Microsecond << i, Turns: n}
	}
	c.TurnLengths[len(c.TurnLengths)-1].Below = 0
	return c
}
