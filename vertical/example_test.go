package vertical_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
	"github.com/mafalda-sfu/mafalda/vertical/placement"
)

// One Router over two Workers: a packet reaches Consumers on both, and when the
// Worker of its Producer dies the Router goes on.
func ExampleNew() {
	ctx := context.Background()
	inner := mafalda.New()
	sfu := vertical.New(inner, vertical.Options{
		MaxWorkers: new(2), Policy: placement.Spread(),
		CPUs: 2, Registry: plenty{}, // an application leaves these out
	})
	defer sfu.Close()
	died := make(chan error, 1)
	sfu.Events().WorkerDied.On(func(d vertical.WorkerDied) { died <- d.Err })

	// From here on it is written as for one Worker.
	worker := must(sfu.CreateWorker(ctx, mafalda.WorkerSettings{}))
	router := must(worker.CreateRouter(ctx, mafalda.RouterOptions{MediaCodecs: []mafalda.RouterRTPCodecCapability{
		{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
	}}))
	in := must(router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{}))
	producer := must(in.Produce(ctx, mafalda.ProducerOptions{Kind: mafalda.MediaKindAudio, RTPParameters: mafalda.RTPParameters{
		Codecs:    []mafalda.RTPCodecParameters{{MIMEType: "audio/opus", PayloadType: 100, ClockRate: 48000, Channels: 2}},
		Encodings: []mafalda.RTPEncodingParameters{{SSRC: 1111}},
	}}))
	got, closed := make(chan []byte, 3), make(chan string, 3)
	for range 3 {
		out := must(router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{}))
		out.Events().RouterClose.On(func(struct{}) { closed <- "a Transport closed" })
		consumer := must(out.Consume(ctx, mafalda.ConsumerOptions{ProducerID: producer.ID(), RTPCapabilities: router.RTPCapabilities()}))
		consumer.Events().ProducerClose.On(func(struct{}) { closed <- "a Consumer closed" })
		consumer.Events().RTP.On(func(packet []byte) { got <- packet })
	}
	if err := producer.Send([]byte("\x80\x64\x00\x01\x00\x00\x00\x01\x00\x00\x04\x57sound")); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		packet := <-got
		fmt.Printf("%s\n", packet[len(packet)-5:])
	}
	show := func() {
		u := sfu.Usage()
		for _, w := range u.Workers {
			fmt.Printf("%d Transports, %d Producers, %d Consumers, pipes %d in %d out\n", w.Transports, w.Producers, w.Consumers, w.PipesIn, w.PipesOut)
		}
	}
	show()
	reason := errors.New("a test")
	if err := inner.Workers()[0].(mafalda.Killer).Kill(reason); err != nil {
		log.Fatal(err)
	}
	fmt.Println("died:", errors.Is(<-died, reason))
	for range 3 {
		fmt.Println(<-closed)
	}
	fmt.Println("Router open:", !router.Closed(), "Producer open:", !producer.Closed())
	show()
	// Unordered output:
	// sound
	// sound
	// sound
	// 2 Transports, 1 Producers, 1 Consumers, pipes 0 in 1 out
	// 2 Transports, 0 Producers, 2 Consumers, pipes 1 in 0 out
	// died: true
	// a Transport closed
	// a Consumer closed
	// a Consumer closed
	// Router open: true Producer open: false
	// 2 Transports, 0 Producers, 0 Consumers, pipes 0 in 0 out
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
