package mafalda

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRecorded repeats what was recorded of mediasoup 3.27.1: the calls in
// testdata/recorded, one file for each scenario, without those that need what
// does not exist here. Results, the getters of new objects, dumps, stats and
// classes of errors have to be the same.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			var log []recordedCall
			require.NoError(t, json.Unmarshal(b, &log))
			x := &replay{t: t, objects: map[string]any{"mediasoup": testSFU(t)}, labels: map[string]string{}, ssrcs: map[string]float64{}, refused: map[string]bool{}}
			for i, c := range log {
				x.call(fmt.Sprintf("%d %s", i+2, c.Call), c)
			}
		})
	}
}

type recordedCall struct {
	Call   string            `json:"call"`
	Args   []json.RawMessage `json:"args"`
	Error  string            `json:"error"`
	Result any               `json:"result"`
}

// A replay runs one scenario.
type replay struct {
	t       *testing.T
	objects map[string]any     // by label
	labels  map[string]string  // label → id
	ssrcs   map[string]float64 // <ssrcN> → value
	refused map[string]bool    // labels of what we refuse to make
	args    []json.RawMessage  // of the call
}

// wrongKind are calls that mediasoup takes and we refuse (docs/differences.md):
// the kind of the Producer is not that of its codec.
var wrongKind = map[string]bool{
	"TestRecorded/04-errors-produce/53 webRtcTransport1.produce": true,
	"TestRecorded/04-errors-produce/56 webRtcTransport1.produce": true,
}

func (x *replay) call(line string, c recordedCall) {
	label, method, _ := strings.Cut(c.Call, ".")
	if x.refused[label] {
		return
	}
	o := x.objects[label]
	require.NotNil(x.t, o, "%s: unknown object", line)
	var args json.RawMessage
	if len(c.Args) > 0 {
		args = c.Args[0]
	}
	x.args = c.Args
	got, err := x.do(o, method, args)
	if c.Error != "" {
		if !slices.ContainsFunc(classesOf[c.Error], func(class error) bool { return errors.Is(err, class) }) {
			x.t.Errorf("%s: error %v, want %s", line, err, c.Error)
		}
		return
	}
	if wrongKind[x.t.Name()+"/"+line] {
		require.ErrorIs(x.t, err, ErrInvalidArgument, line)
		x.refused[c.Result.(map[string]any)["$ref"].(string)] = true
		return
	}
	if err != nil {
		x.t.Errorf("%s: %v", line, err)
		return
	}
	want := c.Result
	if m, ok := want.(map[string]any); ok && m["$ref"] != nil {
		label := m["$ref"].(string)
		x.objects[label] = got
		if l, ok := got.(interface{ ID() string }); ok {
			x.labels[label] = l.ID()
		}
		want, got = m["state"], stateOf(got)
	}
	if want == nil {
		return
	}
	b, err := json.Marshal(got)
	require.NoError(x.t, err)
	var v any
	require.NoError(x.t, json.Unmarshal(b, &v))
	if diff := x.diff("", want, v); diff != "" {
		x.t.Errorf("%s: %s\n%s", line, diff, b)
	}
}

// classesOf says which of our classes an error of mediasoup may be.
var classesOf = map[string][]error{
	"TypeError":        {ErrInvalidArgument, errDecode},
	"UnsupportedError": {errors.ErrUnsupported},
	"NotFoundError":    {ErrNotFound, ErrClosed},
	"Error":            {ErrInvalidState, ErrUnavailable},
}

// errDecode is a value that does not fit our types.
var errDecode = errors.New("does not fit the types")

func decode(args json.RawMessage, v any) error {
	if args == nil {
		return nil
	}
	if err := json.Unmarshal(args, v); err != nil {
		return fmt.Errorf("%w: %w", errDecode, err)
	}
	return nil
}

func (x *replay) do(o any, method string, args json.RawMessage) (any, error) {
	ctx := x.t.Context()
	switch o := o.(type) {
	case SFU:
		return o.CreateWorker(ctx, WorkerSettings{})
	case Worker:
		switch method {
		case "createRouter":
			var a struct{ MediaCodecs []RouterRTPCodecCapability }
			if err := decode(args, &a); err != nil {
				return nil, err
			}
			return o.CreateRouter(ctx, RouterOptions{MediaCodecs: a.MediaCodecs})
		case "createWebRtcServer":
			var a struct{ ListenInfos []recordedListenInfo }
			if err := decode(args, &a); err != nil {
				return nil, err
			}
			return o.CreateWebRTCServer(ctx, WebRTCServerOptions{ListenInfos: listenInfosOf(a.ListenInfos)})
		case "dump":
			return o.Dump(ctx)
		}
	case WebRTCServer:
		return o.Dump(ctx)
	case Router:
		return x.doRouter(o, method, args)
	case Transport:
		return x.doTransport(o, method, args)
	case Producer:
		switch method {
		case "pause":
			return nil, o.Pause(ctx)
		case "resume":
			return nil, o.Resume(ctx)
		case "dump":
			return o.Dump(ctx)
		case "getStats":
			return o.Stats(ctx)
		case "close":
			return nil, o.Close()
		case "send":
			var a struct {
				Buffer int `json:"$buffer"`
				Hex    string
			}
			if err := decode(args, &a); err != nil {
				return nil, err
			}
			b, err := hex.DecodeString(a.Hex)
			require.NoError(x.t, err)
			b = append(b, bytes.Repeat([]byte{0x80}, a.Buffer-len(b))...)
			if err = o.Send(b); o.Closed() && errors.Is(err, ErrClosed) {
				err = nil // in mediasoup nothing tells
			}
			return nil, err
		}
	case DataProducer:
		return x.doDataProducer(o, method)
	case DataConsumer:
		return x.doDataConsumer(o, method)
	case Consumer:
		switch method {
		case "pause":
			return nil, o.Pause(ctx)
		case "resume":
			return nil, o.Resume(ctx)
		case "requestKeyFrame":
			return nil, o.RequestKeyFrame(ctx)
		case "dump":
			return o.Dump(ctx)
		case "getStats":
			return o.Stats(ctx)
		case "close":
			return nil, o.Close()
		}
	}
	require.FailNow(x.t, "unknown call", "%T %s", o, method)
	return nil, nil
}

func (x *replay) doRouter(o Router, method string, args json.RawMessage) (any, error) {
	ctx := x.t.Context()
	switch method {
	case "createWebRtcTransport":
		var a struct {
			ListenInfos  []recordedListenInfo
			WebRTCServer struct {
				Ref string `json:"$ref"`
			}
			EnableUDP, EnableTCP *bool
			PreferUDP, PreferTCP bool
			SCTPOptions
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		o2 := WebRTCTransportOptions{
			ListenInfos: listenInfosOf(a.ListenInfos), EnableUDP: a.EnableUDP, EnableTCP: a.EnableTCP,
			PreferUDP: a.PreferUDP, PreferTCP: a.PreferTCP, SCTPOptions: a.SCTPOptions,
		}
		if a.WebRTCServer.Ref != "" {
			o2.WebRTCServer = x.objects[a.WebRTCServer.Ref].(WebRTCServer)
		}
		return o.CreateWebRTCTransport(ctx, o2)
	case "createPlainTransport":
		var a struct {
			ListenInfo      recordedListenInfo
			RTCPListenInfo  *recordedListenInfo
			RTCPMux         *bool
			Comedia         bool
			EnableSRTP      bool
			SRTPCryptoSuite SRTPCryptoSuite
			SCTPOptions
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		o2 := PlainTransportOptions{
			ListenInfo: a.ListenInfo.info(), RTCPMux: a.RTCPMux, Comedia: a.Comedia,
			EnableSRTP: a.EnableSRTP, SRTPCryptoSuite: a.SRTPCryptoSuite, SCTPOptions: a.SCTPOptions,
		}
		if a.RTCPListenInfo != nil {
			o2.RTCPListenInfo = new(a.RTCPListenInfo.info())
		}
		return o.CreatePlainTransport(ctx, o2)
	case "createDirectTransport":
		var a struct{ MaxSendMessageSize int }
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		return o.CreateDirectTransport(ctx, DirectTransportOptions{MaxSendMessageSize: a.MaxSendMessageSize})
	case "dump":
		return o.Dump(ctx)
	}
	require.FailNow(x.t, "unknown call", "router %s", method)
	return nil, nil
}

func (x *replay) doTransport(o Transport, method string, args json.RawMessage) (any, error) {
	ctx := x.t.Context()
	switch method {
	case "produce":
		var a struct {
			ID            string
			Kind          MediaKind
			RTPParameters RTPParameters
			Paused        bool
			PacketID      bool `json:"enableMediasoupPacketIdHeaderExtension"`
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		return o.Produce(ctx, ProducerOptions{
			ID: a.ID, Kind: a.Kind, RTPParameters: a.RTPParameters, Paused: a.Paused,
			EnableMediasoupPacketIDHeaderExtension: a.PacketID,
		})
	case "consume":
		var a struct {
			ProducerID      string
			RTPCapabilities *struct {
				Of string `json:"$rtpCapabilitiesOf"`
				RTPCapabilities
			}
			MID       string
			Paused    bool
			EnableRTX *bool
			IgnoreDTX bool
			Pipe      bool

			PreferredLayers *ConsumerLayers
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		if a.RTPCapabilities == nil {
			return nil, errDecode
		}
		caps := a.RTPCapabilities.RTPCapabilities
		if a.RTPCapabilities.Of != "" {
			caps = x.objects[a.RTPCapabilities.Of].(Router).RTPCapabilities()
		}
		id := a.ProducerID
		if p, ok := x.objects[id].(Producer); ok {
			id = p.ID()
		}
		return o.Consume(ctx, ConsumerOptions{
			ProducerID: id, RTPCapabilities: caps, MID: a.MID, Paused: a.Paused, EnableRTX: a.EnableRTX, IgnoreDTX: a.IgnoreDTX,
			Pipe: a.Pipe, PreferredLayers: a.PreferredLayers,
		})
	case "produceData", "consumeData":
		return x.doData(o, method, args)
	case "connect":
		var a struct {
			IP   netip.Addr
			Port uint16
		}
		if err := decode(args, &a); err != nil {
			return nil, err
		}
		return nil, o.(PlainTransport).Connect(ctx, PlainTransportConnectOptions{IP: a.IP, Port: a.Port})
	case "sendRtcp":
		return nil, o.(DirectTransport).SendRTCP([]byte{0x81, 0xc9, 0, 7})
	case "setMaxIncomingBitrate":
		var bitrate int
		if err := decode(args, &bitrate); err != nil {
			return nil, err
		}
		return nil, o.SetMaxIncomingBitrate(ctx, bitrate)
	case "dump":
		return o.Dump(ctx)
	case "getStats":
		return o.Stats(ctx)
	case "close":
		return nil, o.Close()
	}
	require.FailNow(x.t, "unknown call", "transport %s", method)
	return nil, nil
}

type recordedListenInfo struct {
	Protocol         Protocol
	IP               netip.Addr
	AnnouncedAddress string
	AnnouncedIP      string
	ExposeInternalIP bool
	PortRange        PortRange
}

func (l *recordedListenInfo) info() ListenInfo {
	announced := l.AnnouncedAddress
	if announced == "" {
		announced = l.AnnouncedIP
	}
	return ListenInfo{
		Protocol: l.Protocol, IP: l.IP, AnnouncedAddress: announced,
		ExposeInternalIP: l.ExposeInternalIP, PortRange: l.PortRange,
	}
}

func listenInfosOf(list []recordedListenInfo) []ListenInfo {
	var out []ListenInfo
	for i := range list {
		out = append(out, list[i].info())
	}
	return out
}

// stateOf returns the getters of o under their names in mediasoup.
func stateOf(o any) map[string]any {
	if w, ok := o.(Worker); ok {
		return map[string]any{"pid": w.PID(), "closed": w.Closed(), "died": w.Died(), "subprocessClosed": w.Closed()}
	}
	m := map[string]any{"id": o.(interface{ ID() string }).ID()}
	if _, ok := o.(Router); ok {
		return m // the excerpts have no more
	}
	m["closed"] = o.(Lifetime).Closed()
	dataStateOf(m, o)
	switch o := o.(type) {
	case WebRTCTransport:
		m["type"] = o.Type()
		m["iceRole"], m["iceState"], m["iceParameters"] = o.ICERole(), o.ICEState(), o.ICEParameters()
		m["iceCandidates"], m["iceSelectedTuple"] = o.ICECandidates(), o.ICESelectedTuple()
		m["dtlsParameters"], m["dtlsState"] = o.DTLSParameters(), o.DTLSState()
	case PlainTransport:
		m["type"] = o.Type()
		m["tuple"], m["rtcpTuple"], m["srtpParameters"] = o.Tuple(), o.RTCPTuple(), o.SRTPParameters()
	case Transport:
		m["type"] = o.Type()
	case Producer:
		m["kind"], m["type"], m["paused"], m["score"] = o.Kind(), o.Type(), o.Paused(), o.Score()
		m["rtpParameters"], m["consumableRtpParameters"] = o.RTPParameters(), o.(*producer).consumable
	case Consumer:
		m["kind"], m["type"], m["paused"], m["score"] = o.Kind(), o.Type(), o.Paused(), o.Score()
		m["producerId"], m["producerPaused"] = o.ProducerID(), o.ProducerPaused()
		m["rtpParameters"], m["priority"] = o.RTPParameters(), o.Priority()
		if l := o.PreferredLayers(); l != nil {
			m["preferredLayers"] = l
		}
	}
	return m
}

var (
	ssrcPlaceholder = regexp.MustCompile(`^<ssrc(\d+)(?:\+(\d+))?>$`)
	placeholder     = regexp.MustCompile(`^<([a-z]+)[0-9_]*>$`)
)

// diff says where got is not what was recorded, "" if it is. Equal placeholders
// of SSRCs have to have equal values; lists that the worker had in the order of
// its hash tables are compared as sets.
func (x *replay) diff(path string, want, got any) string {
	if differs(path, want) {
		return ""
	}
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s: got %v, want an object", path, got)
		}
		for _, k := range slices.Sorted(maps.Keys(want)) {
			v, ok := g[k]
			if !ok && absent(k, want[k]) {
				continue
			}
			if d := x.diff(path+"."+k, want[k], v); d != "" {
				return d
			}
		}
		for k, v := range g {
			if _, ok := want[k]; !ok && v != nil && (k != "parameter" || v != "") {
				return fmt.Sprintf("%s: has %s, which was not recorded", path, k)
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		g, want = withoutOurs(g), withoutOurs(want)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf("%s: got %v, want %v", path, got, want)
		}
		return x.diffList(path, want, g)
	case string:
		return x.diffString(path, want, got)
	case nil:
		if got == nil {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s: got %v, want %v", path, got, want)
}

// absent reports whether a recorded member may be left out here: see
// docs/differences.md.
func absent(key string, want any) bool {
	switch key {
	case "availableOutgoingBitrate", "maxOutgoingBitrate", "minOutgoingBitrate", "rtpPacketLossSent": // not declared yet
		return true
	case "dtx":
		return want == false
	case "rid", "mid":
		return want == ""
	}
	return want == nil
}

// differs reports whether a value may be another than the recorded one.
func differs(path string, want any) bool {
	switch {
	case strings.HasSuffix(path, ".rtpBytesReceived"): // we count what was received, before it is changed
		return want != 0.0
	case strings.HasSuffix(path, ".rtpParameters.mid"): // the excerpts have not all Consumers that took a MID
		mid, ok := want.(string)
		return ok && autoMID.MatchString(mid)
	}
	return false
}

var autoMID = regexp.MustCompile(`^\d+$`)

// withoutOurs returns list without the header extension that we add on purpose.
func withoutOurs(list []any) []any {
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool {
		m, ok := v.(map[string]any)
		return ok && m["uri"] == string(RTPHeaderExtensionDependencyDescriptor)
	})
}

func (x *replay) diffList(path string, want, got []any) string {
	unordered := strings.HasSuffix(path, "Ids") || strings.HasSuffix(path, "Table") || strings.HasSuffix(path, "Handlers") ||
		strings.Contains(path, ".map") || strings.HasSuffix(path, "Fragments") || strings.HasSuffix(path, ".values")
	if !unordered {
		for i := range want {
			if d := x.diff(fmt.Sprintf("%s[%d]", path, i), want[i], got[i]); d != "" {
				return d
			}
		}
		return ""
	}
	got = slices.Clone(got)
	for i := range want {
		j := slices.IndexFunc(got, func(g any) bool {
			try := &replay{labels: x.labels, ssrcs: maps.Clone(x.ssrcs)}
			return try.diff(path, want[i], g) == ""
		})
		if j < 0 {
			return fmt.Sprintf("%s: no %v", path, want[i])
		}
		x.diff(path, want[i], got[j]) // learns the SSRCs
		got = slices.Delete(got, j, j+1)
	}
	return ""
}

func (x *replay) diffString(path, want string, got any) string {
	if id, ok := x.labels[want]; ok && got == id {
		return ""
	}
	if m := ssrcPlaceholder.FindStringSubmatch(want); m != nil {
		n, ok := got.(float64)
		var offset float64
		_, _ = fmt.Sscan(m[2], &offset) // nothing to scan: 0
		if known, seen := x.ssrcs[m[1]]; !ok || seen && known+offset != n {
			return fmt.Sprintf("%s: got %v, want %s = %.0f", path, got, want, x.ssrcs[m[1]]+offset)
		}
		x.ssrcs[m[1]] = got.(float64) - offset
		return ""
	}
	if m := placeholder.FindStringSubmatch(want); m != nil {
		_, isNumber := got.(float64)
		_, isString := got.(string)
		switch m[1] {
		case "ms", "pid", "port", "number", "nonzero":
			if isNumber {
				return ""
			}
		default:
			if isString && got != "" {
				return ""
			}
		}
		return fmt.Sprintf("%s: got %v, want %s", path, got, want)
	}
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s: got %v, want %q", path, got, want)
}
