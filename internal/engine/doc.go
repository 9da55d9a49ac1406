// Package engine moves media. A [Worker] is one loop on one thread: it owns
// every socket, packet, stream and timer of its Routers, and nothing else
// touches them, so the packet path takes no lock and no atomic.
//
//	        root glue, worker channel                other goroutines
//	                  │ Do(op)                             │ DTLS results
//	                  ▼                                    ▼
//	Worker ── queue ──► turn: calls → timers → packets in → fan-out → flush
//	                  │
//	                  └── notifications: an operation returns those it caused;
//	                      those of the network go, in order, to one goroutine
//
// The loop is a shell around [Machine], which has no thread, no clock and no
// socket of its own: a [driver.Driver] brings all three, so that a test turns
// a Machine by hand in virtual time. The methods of Machine are the operations
// of mediasoup's worker: ids, ready-made RTP parameters and mappings come in;
// negotiation stays above.
package engine
