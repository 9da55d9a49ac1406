// Package interop has tests with real clients: Chromium and Firefox with
// mediasoup-client, Pion's ORTC API, ffmpeg and GStreamer. Each asserts what
// the far end decoded and prints one line of figures that begins with
// «interop:». Pages call each other directly, through an application of Node
// on npm's mediasoup with our worker binary (node-app), through a pipe between
// two Workers in one process or in two, and over bad and narrow paths.
//
// The tests with Pion need nothing and always run. Those with programs run with
//
//	.ci/install
//	go test -v ./interop -args -interop
//
// and with -long after that also what takes longer.
// A program that is missing is a skip, or a failure where the variable CI is
// set. The browser's page is in page/, the programs of npm are pinned in
// package-lock.json. Package impair is the bad network between both ends, and
// the command relay is the same for use by hand.
// The command mediasoup-suite runs mediasoup's own tests on our worker, and
// vectors compares it with recordings of the real one.
package interop
