package wrap_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/wrap"
)

// A countingTransport counts what is produced on it.
type countingTransport struct {
	*wrap.DirectTransport
	produced *atomic.Int64
}

func (t *countingTransport) Produce(ctx context.Context, o mafalda.ProducerOptions) (mafalda.Producer, error) {
	p, err := t.DirectTransport.Produce(ctx, o)
	if err == nil {
		t.produced.Add(1)
	}
	return p, err
}

// An SFU that counts the Producers of DirectTransports.
func ExampleSpace() {
	var produced atomic.Int64
	space := wrap.NewSpace(wrap.Hooks{
		DirectTransport: func(t *wrap.DirectTransport) mafalda.DirectTransport {
			return &countingTransport{t, &produced}
		},
	})
	sfu := space.SFU(mafalda.New())
	defer sfu.Close()

	ctx := context.Background()
	transport, err := directTransport(ctx, sfu)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = transport.Produce(ctx, mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: opus(1)})
	fmt.Println(produced.Load(), err)
	_, err = transport.Produce(ctx, mafalda.ProducerOptions{Kind: "smell"})
	fmt.Println(produced.Load(), err != nil)
	// Output:
	// 1 <nil>
	// 1 true
}

func directTransport(ctx context.Context, sfu mafalda.SFU) (mafalda.DirectTransport, error) {
	worker, err := sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	if err != nil {
		return nil, err
	}
	router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
	}})
	if err != nil {
		return nil, err
	}
	return router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
}

// opus is what an endpoint sends with that SSRC.
func opus(ssrc uint32) mafalda.RTPParameters {
	return mafalda.RTPParameters{
		Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: ssrc}},
	}
}
