package vertical_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/vertical"
)

// A virtual Worker keeps its certificate when real ones die and when its settings
// are updated, over another virtual one too; another Worker has another one.
func TestCertificateStays(t *testing.T) {
	for name, inner := range map[string]mafalda.SFU{
		"over real Workers":    mafalda.New(),
		"over virtual Workers": vertical.New(mafalda.New(), now(2)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoomOn(t, inner, now(2))
			listen := mafalda.WebRTCTransportOptions{ListenInfos: udp}
			certificate := func(w mafalda.Router, o mafalda.WebRTCTransportOptions) []mafalda.DTLSFingerprint {
				tr, err := w.CreateWebRTCTransport(t.Context(), o)
				require.NoError(t, err)
				return tr.DTLSParameters().Fingerprints
			}
			first := certificate(r.router, listen)
			for range 3 {
				require.Equal(t, first, certificate(r.router, listen))
			}
			require.Len(t, inner.Workers(), 2)
			for _, w := range inner.Workers() {
				require.NoError(t, w.(mafalda.Killer).Kill(errors.New("planted")))
			}
			require.Equal(t, first, certificate(r.router, listen))

			require.NoError(t, r.worker.UpdateSettings(t.Context(), mafalda.WorkerUpdateableSettings{LogLevel: mafalda.LogLevelDebug}))
			onServer := mafalda.WebRTCTransportOptions{WebRTCServer: r.server(t, udp...)}
			require.Equal(t, first, certificate(r.router, onServer))

			other, err := r.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{})
			require.NoError(t, err)
			router := newRouter(t, other)
			require.NotEqual(t, first, certificate(router, listen))
			listen.DTLSCertificate, listen.DTLSPrivateKey, err = mafalda.GenerateDTLSCertificate()
			require.NoError(t, err)
			own := certificate(r.router, listen)
			require.NotEqual(t, first, own)
			require.Equal(t, own, certificate(router, listen))
		})
	}
}
