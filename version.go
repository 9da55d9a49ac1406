package mafalda

// Version is the version of this library.
const Version = "0.1.0"

// MediasoupVersion is the version of mediasoup whose API, data and behaviour
// this library mirrors.
const MediasoupVersion = "3.27.1"
