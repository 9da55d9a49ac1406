// Package acceptance tests implementations of the mafalda API.
//
// A package that implements [mafalda.SFU] needs one test:
//
//	func TestAcceptance(t *testing.T) {
//		acceptance.Run(t, acceptance.Target{
//			New: func(t testing.TB) mafalda.SFU {
//				sfu := mypkg.New()
//				t.Cleanup(func() { sfu.Close() })
//				return sfu
//			},
//		})
//	}
//
// It takes about half a minute. The cases wait more than they work: where there
// are few CPUs go test -parallel 16 is faster. One case is run by its name:
//
//	go test -run 'TestAcceptance/^Consumer$/^PauseResume$' .
//
// The cases look at the implementation from outside: they call it, listen to
// its events, and exchange real packets with it, as endpoints of WebRTC over
// UDP and TCP and as plain RTP over UDP on the loopback interface. Each names
// the rule that it checks and the lines of mediasoup's own test suite that it
// stands for; docs/acceptance.md has the list.
package acceptance

import (
	"slices"
	"testing"

	"github.com/mafalda-sfu/mafalda"
)

// A Target is an implementation under test.
type Target struct {
	// New returns an SFU for one case; it registers with t.Cleanup whatever
	// must be released. Cases run in parallel, each with an SFU of its own.
	// Required.
	New func(t testing.TB) mafalda.SFU
	// Skip maps the name of a case to the reason why this implementation can't
	// pass it. A name that no case has fails the run, so a stale skip is seen.
	Skip map[string]string
	// Kill lets a Worker die for that reason, which no packet can provoke. nil
	// means the method of [mafalda.Killer]; where the Workers are none, what needs
	// a death is skipped, visibly.
	Kill func(w mafalda.Worker, reason error) error
	// KillUnder lets the engine die that serves a Transport, where a Worker is made
	// of several and may go on without one. nil means that its Worker dies, by Kill.
	KillUnder func(t mafalda.Transport, reason error) error
	// KeepsMessages says that data messages for a slow listener are kept, so
	// that the endpoint which sends them does not have to wait. It is for an
	// implementation that is told of messages over a connection which it can't
	// leave unread. Nothing may be lost either way.
	KeepsMessages bool
	// Pipes is how many pipes media may take from one Transport to another one of
	// the same Router, where that is spread over several Workers. It loosens rules
	// that hold where one loop serves all of a Router: what is sent to two
	// Transports is no longer in one order, and at each end of a pipe, as at those
	// of mediasoup's, a stream is looked at anew. 0 means none.
	Pipes int
}

// A testCase is one rule.
type testCase struct {
	name        string
	explanation string   // the rule that a failure violates
	upstream    []string // lines of the checklist that it stands for
	run         func(t *testing.T, s *suite)
}

// A suite is what a case works with.
type suite struct {
	Target
	sfu mafalda.SFU
}

// killer returns what lets w die.
func (s *suite) killer(t testing.TB, w mafalda.Worker) func(reason error) error {
	t.Helper()
	if s.Kill != nil {
		return func(reason error) error { return s.Kill(w, reason) }
	}
	k, ok := w.(mafalda.Killer)
	if !ok {
		t.Skip("needs Target.Kill, or a Worker that is a Killer")
	}
	return k.Kill
}

// killerUnder returns what lets the engine die that serves tr, of w.
func (s *suite) killerUnder(t testing.TB, w mafalda.Worker, tr mafalda.Transport) func(reason error) error {
	t.Helper()
	if s.KillUnder != nil {
		return func(reason error) error { return s.KillUnder(tr, reason) }
	}
	return s.killer(t, w)
}

// cases has all cases, by subject.
var cases = slices.Concat(
	sfuCases,
	workerCases,
	webRTCServerCases,
	routerCases,
	webRTCTransportCases,
	listenCases,
	stunCases,
	iceCases,
	dtlsCases,
	plainTransportCases,
	plainMediaCases,
	pipeTransportCases,
	pipeToRouterCases,
	pipeDataCases,
	directTransportCases,
	directDataCases,
	dataProducerCases,
	dataConsumerCases,
	sctpCases,
	sctpHostileCases,
	rtpObserverCases,
	producerCases,
	produceErrorCases,
	consumerCases,
	layersCases,
	bandwidthCases,
	codecCases,
	forwardingCases,
	mappingCases,
	demuxCases,
	pauseCases,
	keyFrameCases,
	retransmissionCases,
	rtcpCases,
	feedbackCases,
	scoreCases,
	traceCases,
	statsCases,
	closeCases,
	closedCases,
	killCases,
	isolationCases,
	concurrencyCases,
	eventCases,
	copyCases,
	abuseCases,
)

// Run runs every case against target, each as a parallel subtest with an SFU
// of its own. A failure logs the rule that was violated.
func Run(t *testing.T, target Target) {
	t.Helper()
	for name := range target.Skip {
		if !slices.ContainsFunc(cases, func(c testCase) bool { return c.name == name }) {
			t.Errorf("Skip names no case: %q", name)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if why, ok := target.Skip[c.name]; ok {
				t.Skip(why)
			}
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					t.Log("rule: " + c.explanation)
					for _, id := range c.upstream {
						t.Logf("mediasoup %s: %s", id, ruleOf(id))
					}
				}
			})
			c.run(t, &suite{Target: target, sfu: target.New(t)})
		})
	}
}
