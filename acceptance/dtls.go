package acceptance

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/stretchr/testify/require"

	"github.com/mafalda-sfu/mafalda"
	"github.com/mafalda-sfu/mafalda/internal/peer"
)

var dtlsCases = []testCase{
	{
		name:        "DTLS/BothRoles",
		explanation: "we are the DTLS server of a client and the client of a server, over UDP and TCP, and media flows both ways",
		upstream:    []string{"WebRtcTransport 8", "WebRtcTransport 18"},
		run:         testDTLSBothRoles,
	},
	{
		name:        "DTLS/Profiles",
		explanation: "each of the four SRTP profiles is agreed on with a peer that has no other (RFC 5764 §4.1.2)",
		run:         testDTLSProfiles,
	},
	{
		name:        "DTLS/PreferredProfile",
		explanation: "AEAD_AES_128_GCM is the first of our SRTP profiles",
		run:         testDTLSPreferredProfile,
	},
	{
		name:        "DTLS/WrongFingerprint",
		explanation: "a peer whose certificate has another fingerprint makes DTLS failed, in both roles, and no media passes",
		upstream:    []string{"WebRtcTransport 18"},
		run:         testDTLSWrongFingerprint,
	},
	{
		name:        "DTLS/FingerprintAlgorithms",
		explanation: "a fingerprint of each algorithm is checked, in upper or lower case",
		run:         testDTLSFingerprintAlgorithms,
	},
	{
		name:        "DTLS/CloseNotify",
		explanation: "close_notify of the peer makes DTLS closed and leaves the transport open",
		run:         testDTLSCloseNotify,
	},
	{
		name:        "DTLS/RemoteCertificate",
		explanation: "DTLSRemoteCert is the certificate of the peer in PEM",
		run:         testDTLSRemoteCertificate,
	},
	{
		name:        "DTLS/LocalFingerprints",
		explanation: "our fingerprints are of five algorithms, in upper case, and those of the certificate that the peer sees",
		upstream:    []string{"WebRtcTransport 1"},
		run:         testDTLSLocalFingerprints,
	},
	{
		name:        "DTLS/WorkerCertificate",
		explanation: "transports of a Worker share a certificate, and those of another have another one",
		run:         testDTLSWorkerCertificate,
	},
	{
		name:        "DTLS/CertificateFiles",
		explanation: "a Worker uses the certificate of its settings",
		upstream:    []string{"Worker 2"},
		run:         testDTLSCertificateFiles,
	},
	{
		name:        "DTLS/TransportCertificate",
		explanation: "a transport uses the certificate of its options, and others that of the Worker, or that is unsupported; a bad one is an invalid argument",
		run:         testDTLSTransportCertificate,
	},
}

func testDTLSBothRoles(t *testing.T, s *suite) {
	r := s.room(t)
	o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listenUDP(), listenTCP()}}
	for _, cfg := range []peer.Config{{}, {Server: true}, {TCP: true}, {TCP: true, Server: true}} {
		e := r.webRTCEnd(t, o, cfg)
		role := mafalda.DTLSRoleServer
		if cfg.Server {
			role = mafalda.DTLSRoleClient
		}
		require.Equal(t, role, e.transport.(mafalda.WebRTCTransport).DTLSParameters().Role)
		p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
		c := e.consume(t, r, p)
		e.sendRTP(t, opusSource(1).packet([]byte("there and back")))
		require.Equal(t, "there and back", string(e.next(t, c).Payload))
	}
}

func testDTLSProfiles(t *testing.T, s *suite) {
	r := s.room(t)
	for _, profile := range []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM,
		dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AES128_CM_HMAC_SHA1_32,
	} {
		for _, asServer := range []bool{false, true} {
			e := r.webRTCEnd(t, overUDP(), peer.Config{
				Server: asServer, Profiles: []dtls.SRTPProtectionProfile{profile},
			})
			require.Equal(t, profile, e.peer.Profile())
			p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
			c := e.consume(t, r, p)
			e.sendRTP(t, opusSource(1).packet([]byte("sealed")))
			require.Equal(t, "sealed", string(e.next(t, c).Payload))
		}
	}
}

func testDTLSPreferredProfile(t *testing.T, s *suite) {
	e := s.room(t).webRTCEnd(t, overUDP(), peer.Config{Profiles: []dtls.SRTPProtectionProfile{
		dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM,
	}})
	require.Equal(t, dtls.SRTP_AEAD_AES_128_GCM, e.peer.Profile())
}

func testDTLSWrongFingerprint(t *testing.T, s *suite) {
	r := s.room(t)
	for _, asServer := range []bool{false, true} {
		tr := r.webRTC(t, overUDP())
		states := hear(t, &tr.Events().DTLSStateChange)
		p, err := peer.New(peer.Config{Server: asServer})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		parameters := p.DTLSParameters()
		parameters.Fingerprints = []mafalda.DTLSFingerprint{
			fingerprint(mafalda.FingerprintSHA256), parameters.Fingerprints[0], // only the first counts
		}
		require.NoError(t, tr.Connect(t.Context(), mafalda.WebRTCTransportConnectOptions{DTLSParameters: parameters}))
		p.Connect(within(t, patience), tr.ICEParameters(), tr.ICECandidates()) // may or may not notice
		require.Equal(t, mafalda.DTLSStateConnecting, receive(t, states, "connecting"))
		require.Equal(t, mafalda.DTLSStateFailed, receive(t, states, "failed"))
		require.Equal(t, mafalda.DTLSStateFailed, tr.DTLSState())
		require.Empty(t, tr.DTLSRemoteCert())
		require.False(t, tr.Closed())
	}
}

func testDTLSFingerprintAlgorithms(t *testing.T, s *suite) {
	r := s.room(t)
	server := r.webRTC(t, overUDP())
	algorithms := map[mafalda.FingerprintAlgorithm]string{}
	for _, f := range server.DTLSParameters().Fingerprints {
		algorithms[f.Algorithm] = f.Value
	}
	certificate, err := selfsign.GenerateSelfSigned()
	require.NoError(t, err)
	for algorithm := range algorithms {
		for _, lower := range []bool{false, true} {
			tr := r.webRTC(t, overUDP())
			p, err := peer.New(peer.Config{Certificate: &certificate})
			require.NoError(t, err)
			t.Cleanup(p.Close)
			parameters := p.DTLSParameters()
			f := mafalda.DTLSFingerprint{Algorithm: algorithm, Value: digest(algorithm, certificate.Certificate[0])}
			if lower {
				f.Value = strings.ToLower(f.Value)
			}
			parameters.Fingerprints = []mafalda.DTLSFingerprint{f}
			require.NoError(t, tr.Connect(t.Context(), mafalda.WebRTCTransportConnectOptions{DTLSParameters: parameters}))
			require.NoError(t, p.Connect(within(t, patience), tr.ICEParameters(), tr.ICECandidates()))
			eventually(t, fmt.Sprintf("DTLS is connected by %s", algorithm), func() bool {
				return tr.DTLSState() == mafalda.DTLSStateConnected
			})
		}
	}
}

func testDTLSCloseNotify(t *testing.T, s *suite) {
	r := s.room(t)
	for _, cfg := range []peer.Config{{}, {Server: true}, {TCP: true}} {
		o := mafalda.WebRTCTransportOptions{ListenInfos: []mafalda.ListenInfo{listenUDP(), listenTCP()}}
		e := r.webRTCEnd(t, o, cfg)
		tr := e.transport.(mafalda.WebRTCTransport)
		p := e.produce(t, mafalda.MediaKindAudio, audio("", 1))
		states := hear(t, &tr.Observer().DTLSStateChange)
		e.peer.Close()
		require.Equal(t, mafalda.DTLSStateClosed, receive(t, states, "closed"))
		require.Equal(t, mafalda.DTLSStateClosed, tr.DTLSState())
		require.False(t, tr.Closed())
		require.False(t, p.Closed())
		require.NoError(t, p.Pause(t.Context()))
		require.NoError(t, tr.Close())
	}
}

func testDTLSRemoteCertificate(t *testing.T, s *suite) {
	r := s.room(t)
	certificate, err := selfsign.GenerateSelfSigned()
	require.NoError(t, err)
	for _, asServer := range []bool{false, true} {
		e := r.webRTCEnd(t, overUDP(), peer.Config{Server: asServer, Certificate: &certificate})
		block, rest := pem.Decode([]byte(e.transport.(mafalda.WebRTCTransport).DTLSRemoteCert()))
		require.NotNil(t, block)
		require.Empty(t, strings.TrimSpace(string(rest)))
		require.Equal(t, "CERTIFICATE", block.Type)
		require.Equal(t, certificate.Certificate[0], block.Bytes)
	}
}

func testDTLSLocalFingerprints(t *testing.T, s *suite) {
	tr := s.room(t).webRTCEnd(t, overUDP(), peer.Config{}).transport.(mafalda.WebRTCTransport) // checks them
	require.Len(t, tr.DTLSParameters().Fingerprints, 5)
	for _, f := range tr.DTLSParameters().Fingerprints {
		require.Regexp(t, upperHex, f.Value)
		require.Equal(t, hashes[f.Algorithm].Size(), (len(f.Value)+1)/3, f.Algorithm)
	}
}

func testDTLSWorkerCertificate(t *testing.T, s *suite) {
	r := s.room(t)
	a, b := r.webRTC(t, overUDP()), newRoom(t, r.worker).webRTC(t, overUDP())
	require.ElementsMatch(t, a.DTLSParameters().Fingerprints, b.DTLSParameters().Fingerprints)
	other := s.room(t).webRTC(t, overUDP())
	require.NotEqual(t, fingerprintOf(a, mafalda.FingerprintSHA256), fingerprintOf(other, mafalda.FingerprintSHA256))
}

// fingerprintOf returns our fingerprint of that algorithm.
func fingerprintOf(tr mafalda.WebRTCTransport, a mafalda.FingerprintAlgorithm) string {
	for _, f := range tr.DTLSParameters().Fingerprints {
		if f.Algorithm == a {
			return f.Value
		}
	}
	return ""
}

func testDTLSCertificateFiles(t *testing.T, s *suite) {
	certFile, keyFile := certificate(t)
	w, err := s.sfu.CreateWorker(t.Context(), mafalda.WorkerSettings{
		DTLSCertificateFile: certFile, DTLSPrivateKeyFile: keyFile,
	})
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	_, err = x509.ParseCertificate(pair.Certificate[0])
	require.NoError(t, err)
	r := newRoom(t, w)
	e := r.webRTCEnd(t, overUDP(), peer.Config{})
	tr := e.transport.(mafalda.WebRTCTransport)
	for _, f := range tr.DTLSParameters().Fingerprints {
		require.Equal(t, digest(f.Algorithm, pair.Certificate[0]), f.Value)
	}
}

func testDTLSTransportCertificate(t *testing.T, s *suite) {
	r := s.room(t)
	certificate, key, err := mafalda.GenerateDTLSCertificate()
	require.NoError(t, err)
	_, otherKey, err := mafalda.GenerateDTLSCertificate()
	require.NoError(t, err)
	for _, bad := range [][2]string{{certificate, ""}, {"", key}, {certificate, otherKey}, {key, certificate}, {"x", "y"}} {
		o := overUDP()
		o.DTLSCertificate, o.DTLSPrivateKey = bad[0], bad[1]
		_, err := r.router.CreateWebRTCTransport(t.Context(), o)
		require.ErrorIs(t, err, mafalda.ErrInvalidArgument)
	}
	require.Empty(t, r.router.Transports())

	block, _ := pem.Decode([]byte(certificate))
	for _, o := range []mafalda.WebRTCTransportOptions{overUDP(), {WebRTCServer: r.server(t)}} {
		o.DTLSCertificate, o.DTLSPrivateKey = certificate, key
		for _, asServer := range []bool{false, true} {
			tr, err := r.router.CreateWebRTCTransport(t.Context(), o)
			if errors.Is(err, errors.ErrUnsupported) {
				require.Empty(t, r.router.Transports())
				return
			}
			require.NoError(t, err)
			for _, f := range tr.DTLSParameters().Fingerprints {
				require.Equal(t, digest(f.Algorithm, block.Bytes), f.Value)
			}
			r.webRTCEnd(t, o, peer.Config{Server: asServer}) // checks the fingerprint
		}
	}
	tr := r.webRTC(t, overUDP())
	require.NotEqual(t, digest(mafalda.FingerprintSHA256, block.Bytes), fingerprintOf(tr, mafalda.FingerprintSHA256))
}

// digest returns a fingerprint, one that nothing has if there is no such algorithm.
func digest(a mafalda.FingerprintAlgorithm, der []byte) string {
	hash, ok := hashes[a]
	if !ok {
		return fmt.Sprintf("no fingerprint: algorithm %q", a)
	}
	h := hash.New()
	h.Write(der)
	var parts []string
	for _, b := range h.Sum(nil) {
		parts = append(parts, strings.ToUpper(hex.EncodeToString([]byte{b})))
	}
	return strings.Join(parts, ":")
}
