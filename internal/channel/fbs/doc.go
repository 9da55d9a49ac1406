// Package fbs is the worker protocol of mediasoup 3.27.1 as FlatBuffers code,
// generated from channel.fbs. The schema is the documentation.
//
// Each table T has accessors that read a frame in place, builder functions, and
// a struct TT with Pack and UnPack. In such a struct an empty string is an
// absent one unless the schema says that it is required or present, a nil slice is an
// absent vector, and a required table or vector must not be nil: Pack does not
// check.
//
// Accessors and UnPack trust their input. Only frames that were verified are
// given to them.
package fbs

//go:generate go run gen.go
