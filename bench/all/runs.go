package main

import (
	"encoding/json"
	"slices"
)

// A section is a table of the document: runs of one kind.
type section struct {
	Title   string
	Text    string
	Columns []column
	Runs    []run
}

// A run is one command below bench.
type run struct {
	Name    string // of its figures in the JSON
	Command []string
}

// A column is one figure of a run.
type column struct {
	Head string
	// Path is where the figure is, with a point between the names of fields.
	Path   string
	Digits int
	Factor float64 // 0 is 1
}

var forwarding = []column{
	{"ns per packet", "nsPerPacket", 0, 0},
	{"the loop's", "referenceNsPerPacket", 0, 0},
	{"ratio", "ratio", 2, 0},
	{"allocations per packet", "allocsPerPacket", 6, 0},
	{"forwarded", "forwarded", 3, 0},
}

// receivers are columns of a run in which they read.
var receivers = []column{
	{"first (ms)", "latencyMs.firstReceiver", 2, 0},
	{"median (ms)", "latencyMs.medianReceiver", 2, 0},
	{"last (ms)", "latencyMs.lastReceiver", 2, 0},
}

var timed = column{"timed", "latencyMs.timed", 3, 0}

var sections = []section{
	{
		Title: "One to many",
		Text: "Behind one port unless said otherwise. The last columns are the time from the coming of a packet at the device to\n" +
			"the going of its copy to the first, median and last receiver, and the last as a multiple of what one burst to all\n" +
			"costs. `timed` is the share of the packets of which that is known. With `-segments` the device takes runs of\n" +
			"datagrams apart, as many network cards do; else it is the kernel.",
		Columns: slices.Concat(forwarding, receivers, []column{{"last / burst", "lastOfTurn", 2, 0}, timed}),
		Runs: []run{
			{"fanout300", []string{"fanout", "-seconds", "5", "-explain"}},
			{"fanout300quiet", []string{"fanout", "-seconds", "5", "-feedback=false"}},
			{"fanout300single", []string{"fanout", "-seconds", "5", "-burst", "1"}},
			{"fanout300fast", []string{"fanout", "-seconds", "5", "-pps", "1200"}},
			{"fanout600", []string{"fanout", "-seconds", "5", "-consumers", "600"}},
			{"fanout300segments", []string{"fanout", "-seconds", "5", "-segments"}},
			{"fanout300ports", []string{"fanout", "-seconds", "5", "-ports", "each"}},
			{"audio1000", []string{"fanout", "-seconds", "5", "-consumers", "1000", "-pps", "50", "-size", "120", "-burst", "1"}},
		},
	},
	{
		Title: "Others",
		Text: "The same fan-out through a forwarder on pion/webrtc, one TrackLocalStaticRTP for each receiver, with its default\n" +
			"interceptors; and through LiveKit's server with its default configuration. Neither has transport-cc on what it sends.",
		Columns: slices.Concat(forwarding, receivers, []column{timed}),
		Runs: []run{
			{"pion300", []string{"peers", "-seconds", "5"}},
			{"livekit300", []string{"livekit", "-seconds", "5"}},
		},
	},
	{
		Title: "Meetings",
		Text: "A grid is 300 Producers with one Consumer each; rooms are 30 of six people with audio and three layers of video.\n" +
			"The loop has one recvmsg and one sendto for each packet. Latency, from the coming of a packet at the device to the\n" +
			"going of its copy, is that at the share of the cores that is named; what the collector adds is seen at the rates of\n" +
			"people, beside half a core of garbage; `cycles` are those of five seconds.",
		Columns: slices.Concat(forwarding, []column{
			{"cores", "loaded.cpu", 2, 0},
			{"p50 (ms)", "loaded.latencyMs.p50", 2, 0},
			{"p99 (ms)", "loaded.latencyMs.p99", 2, 0},
			{"GC adds to p99 (ms)", "loaded.gc.usual.addsMs", 2, 0},
			{"cycles", "loaded.gc.usual.cycles", 0, 0},
			{"adds with GOGC=10", "loaded.gc.often.addsMs", 2, 0},
			{"cycles", "loaded.gc.often.cycles", 0, 0},
			{"timed", "loaded.latencyMs.timed", 3, 0},
		}),
		Runs: []run{
			{"grid", []string{"grid", "-seconds", "5", "-explain"}},
			{"gridTwoWorkers", []string{"grid", "-seconds", "3", "-workers", "2"}},
			{"rooms", []string{"rooms", "-seconds", "5"}},
			{"roomsTwoWorkers", []string{"rooms", "-seconds", "3", "-workers", "2"}},
		},
	},
	{
		Title: "Memory",
		Text:  "Live objects and stacks, and what is resident, in KiB for each; the total in MiB.",
		Columns: []column{
			{"live per Transport", "bytesPerTransport", 1, 1. / 1024},
			{"live per Consumer", "bytesPerConsumer", 1, 1. / 1024},
			{"resident per Transport", "residentPerTransport", 1, 1. / 1024},
			{"resident per Consumer", "residentPerConsumer", 1, 1. / 1024},
			{"resident in all", "resident", 0, 1. / (1 << 20)},
		},
		Runs: []run{{"memory", []string{"memory"}}},
	},
	{
		Title: "Joining",
		Text:  "500 WebRTCTransports created, connected and consuming, by a server on one core.",
		Columns: []column{
			{"joins per second", "joinsPerSecond", 0, 0},
			{"CPU per join (ms)", "cpuMsPerJoin", 2, 0},
			{"median join (ms)", "medianJoinMs", 1, 0},
			{"p99 of who is there (ms)", "latencyMs.p99", 2, 0},
			{"before the storm (ms)", "quietLatencyMs.p99", 2, 0},
			timed,
		},
		Runs: []run{{"join", []string{"join"}}},
	},
	{
		Title: "Key frames",
		Text: "300 Consumers begin within five seconds, with and without a `KeyFrameRequestDelay` of the Producer. Key frames per\n" +
			"second are those from the first to the last.",
		Columns: []column{
			{"key frames per second", "keyFramesPerSecond", 2, 0},
			{"most within a second", "mostWithinOneSecond", 0, 0},
			{"requests", "requests", 0, 0},
		},
		Runs: []run{
			{"keyframes", []string{"keyframes"}},
			{"keyframesNoDelay", []string{"keyframes", "-delay", "0"}},
		},
	},
	{
		Title: "Two Workers",
		Text: "Half of 300 Consumers on a second Worker, behind the pipe in memory. Packets/s are the most that were forwarded, of\n" +
			"more than could be, on as many cores as the machine gave.",
		Columns: []column{
			{"ns per packet, one", "oneWorkerNsPerPacket", 0, 0},
			{"two", "twoWorkersNsPerPacket", 0, 0},
			{"ratio", "ratio", 2, 0},
			{"ns of the pipe", "pipeNsPerPacket", 0, 0},
			{"packets/s, one", "oneWorkerPacketsPerSecond", 0, 0},
			{"on cores", "oneWorkerCores", 2, 0},
			{"packets/s, two", "twoWorkersPacketsPerSecond", 0, 0},
			{"on cores", "twoWorkersCores", 2, 0},
		},
		Runs: []run{{"scale", []string{"scale", "-seconds", "5"}}},
	},
}

// explained are the runs that tell where the time goes.
var explained = []string{"fanout300", "grid"}

// An outcome is what a run printed.
type outcome struct {
	Name    string          `json:"name"`
	Command string          `json:"command"`
	Seconds float64         `json:"seconds"`
	Others  float64         `json:"others"` // cores that other work had meanwhile
	Error   string          `json:"error,omitempty"`
	LeftOut string          `json:"leftOut,omitempty"` // why it could not be run here, which is no error
	Result  json.RawMessage `json:"result,omitempty"`
}

// A report has everything.
type report struct {
	Command string    `json:"command"`
	Machine machine   `json:"machine"`
	Seconds float64   `json:"seconds"`
	Runs    []outcome `json:"runs"`
}

// A machine is on what it ran.
type machine struct {
	Date    string            `json:"date"`
	Commit  string            `json:"commit"`
	Go      string            `json:"go"`
	Kernel  string            `json:"kernel"`
	CPU     string            `json:"cpu"`
	CPUs    int               `json:"cpus"`
	Load    string            `json:"load"` // averages when it began
	Modules map[string]string `json:"modules"`
}
