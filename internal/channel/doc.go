// Package channel is the worker side of mediasoup's worker protocol: it reads
// requests, has an engine do what they ask, and writes responses and
// notifications.
//
// The layout of messages is that of package fbs. One goroutine reads, one
// writes; what is written is in the order in which the engine did it, so that
// the notifications that a request caused come right after its response.
package channel
