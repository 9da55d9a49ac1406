// Package vertical makes one SFU of many Workers: a Router without a size.
//
//	sfu := vertical.New(mafalda.New())
//
// is an SFU as any other, and an application that is given it does not change.
// But its Workers are virtual, and so are its Routers. Each Transport of a Router
// is placed on a real Worker that has room, which is started if need be; a
// [placement.Policy] chooses. What is produced on one real Worker and consumed on
// another is piped there: on demand, once for all Consumers there, straight from
// where it is produced, and through memory where both are in this process. When
// nobody consumes it any more the pipe is closed, and what is empty is closed too.
//
//	virtual Worker ── virtual Router ──┬─────────────┬── Transports …
//	                                   │             │
//	real Worker ── real Router ────────┘   pipe      │
//	real Worker ── real Router ──────────◄──────────►┘
//
// All virtual Workers with the same settings share the same real Workers, at most
// one for each CPU, and a [Registry] counts these across processes. Sharing
// can't be seen: virtual objects have ids, dumps, events and resource usage of
// their own.
//
// A real Worker that dies takes along what lived on it: Transports close as if
// their Router had closed, Consumers elsewhere as if their Producers had. The
// virtual Worker and Router go on, and a fresh real Worker takes what comes.
//
// The package uses the public API alone. What is below may be any [mafalda.SFU]:
// the one of this process, a remote one, or another of this package.
package vertical
