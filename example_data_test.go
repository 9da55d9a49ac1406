package mafalda_test

import (
	"context"
	"fmt"

	"github.com/mafalda-sfu/mafalda"
)

// A chat between two parts of the application. Endpoints take part in it the
// same way, on Transports with SCTP.
func ExampleDataProducer() {
	ctx := context.Background()
	worker, err := mafalda.CreateWorker()
	if err != nil {
		panic(err)
	}
	defer worker.Close()
	router, err := worker.CreateRouter(ctx, mafalda.RouterOptions{})
	if err != nil {
		panic(err)
	}
	transport, err := router.CreateDirectTransport(ctx, mafalda.DirectTransportOptions{})
	if err != nil {
		panic(err)
	}
	chat, err := transport.ProduceData(ctx, mafalda.DataProducerOptions{Label: "chat"})
	if err != nil {
		panic(err)
	}
	listener, err := transport.ConsumeData(ctx, mafalda.DataConsumerOptions{DataProducerID: chat.ID()})
	if err != nil {
		panic(err)
	}
	heard := make(chan string)
	listener.Events().Message.On(func(m mafalda.DataMessage) { heard <- string(m.Data) })
	if err := chat.Send(mafalda.TextMessage("hello")); err != nil {
		panic(err)
	}
	fmt.Println(listener.Label(), <-heard)
	// Output: chat hello
}
