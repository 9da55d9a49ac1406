package mafalda_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mafalda-sfu/mafalda"
)

// A Router forwards what is produced on one Transport to the Consumers of
// another. Here both ends are the program itself.
func Example() {
	ctx := context.Background()
	worker, err := mafalda.CreateWorker()
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()
	router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{
		MediaCodecs: []mafalda.RouterRTPCodecCapability{
			{Kind: mafalda.MediaKindAudio, MIMEType: "audio/opus", ClockRate: 48000, Channels: 2},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	speaker, err := router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	if err != nil {
		log.Fatal(err)
	}

	producer, err := speaker.Produce(ctx, mafalda.ProducerOptions{
		Kind: mafalda.MediaKindAudio,
		RTPParameters: mafalda.RTPParameters{
			Codecs: []mafalda.RTPCodecParameters{
				{MIMEType: "audio/opus", PayloadType: 111, ClockRate: 48000, Channels: 2},
			},
			Encodings: []mafalda.RTPEncodingParameters{{SSRC: 1234}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	consumer, err := listener.Consume(ctx, mafalda.ConsumerOptions{
		ProducerID:      producer.ID(),
		RTPCapabilities: router.RTPCapabilities(),
	})
	if err != nil {
		log.Fatal(err)
	}

	heard := make(chan []byte, 1)
	consumer.Events().RTP.On(func(packet []byte) { heard <- packet })
	// An RTP header with payload type 111 and SSRC 1234, and a payload.
	packet := append([]byte{0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 4, 210}, "hello"...)
	if err := producer.Send(packet); err != nil {
		log.Fatal(err)
	}
	b := <-heard
	fmt.Println("payload type", b[1]&0x7f)
	fmt.Println(string(b[len(b)-5:]))
	// Output:
	// payload type 100
	// hello
}

// An observer follows everything that an SFU creates, wherever it is created.
func ExampleSFU_observer() {
	ctx := context.Background()
	sfu := mafalda.New()
	sfu.Observer().NewWorker.On(func(w mafalda.Worker) {
		fmt.Println("new Worker")
		w.Observer().NewRouter.On(func(r mafalda.Router) {
			fmt.Println("new Router")
			r.Events().WorkerClose.On(func(struct{}) { fmt.Println("the Router's Worker closed") })
			r.Observer().Close.On(func(struct{}) { fmt.Println("Router closed") })
		})
		w.Observer().Close.On(func(struct{}) { fmt.Println("Worker closed") })
	})
	worker, err := sfu.CreateWorker(ctx, mafalda.WorkerSettings{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := worker.CreateRouter(ctx, mafalda.RouterOptions{}); err != nil {
		log.Fatal(err)
	}
	if err := sfu.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// new Worker
	// new Router
	// the Router's Worker closed
	// Router closed
	// Worker closed
}

// Application data travels with every object.
func ExampleAppDataAs() {
	worker, err := mafalda.CreateWorker(mafalda.WorkerSettings{AppData: "edge-7"})
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()
	name, ok := mafalda.AppDataAs[string](worker)
	fmt.Println(name, ok)
	// Output: edge-7 true
}
