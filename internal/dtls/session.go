package dtls

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"sync"

	pdtls "github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/alert"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
	"github.com/pion/transport/v5/replaydetector"
)

const (
	// sessionEpoch is that of all records after the only handshake.
	sessionEpoch = 1
	// replayWindow is how many records a late one may be behind the newest
	// (RFC 6347 §4.1.2.6).
	replayWindow = 64
	// maxPlaintext is the most that a record holds (RFC 5246 §6.2.1), in bytes.
	maxPlaintext = 1 << 14
)

// A session is what a finished handshake leaves behind: keys and the numbers of
// records. It takes over from pion's connection, which has three goroutines
// and some 30 KiB for each peer, most of whom say nothing more for hours.
//
// Nonces are made of the numbers, so none may be used twice: pion sends nothing
// from the moment on at which its own number is read (see takeOver).
type session struct {
	// Constant after takeOver.
	send     func([]byte)
	panicked func(any) // told what send panicked with
	cipher   recordCipher
	flight   []byte // a server's ChangeCipherSpec and Finished

	// Owned by the goroutine that opens.
	window replaydetector.ReplayDetector

	mu    sync.Mutex // held while send runs
	next  uint64     // guarded by mu; the number of the next record
	ended bool       // guarded by mu; nothing is sent any more
}

// takeOver silences pion's connection and returns a session that goes on in its
// place. Pion was given no record of epoch 1 but those of the handshake (see
// early), which do no harm when they come again: so the window begins empty.
func (c *Conn) takeOver(p *pdtls.Conn) (*session, error) {
	flight := c.pipe.silence()
	if c.role == Client {
		flight = nil // the server's was the last
	}
	state, ok := p.ConnectionState()
	if !ok {
		return nil, ErrNotConnected
	}
	b, err := state.MarshalBinary()
	if err != nil {
		return nil, err
	}
	kept, err := readState(b)
	if err != nil {
		return nil, err
	}
	client, server := kept.RemoteRandom[:], kept.LocalRandom[:]
	if c.role == Client {
		client, server = server, client
	}
	rc, err := newCipher(pdtls.CipherSuiteID(kept.CipherSuiteID), c.role, kept.MasterSecret, client, server)
	if err != nil {
		return nil, err
	}
	s := newSession(rc, c.cfg.Send, c.caught)
	s.flight, s.next = flight, kept.SequenceNumber
	return s, nil
}

// A keptState is some of the fields that pion's State has in its binary form.
type keptState struct {
	LocalEpoch, RemoteEpoch   uint16
	SequenceNumber            uint64
	CipherSuiteID             uint16
	MasterSecret              []byte
	LocalRandom, RemoteRandom [handshake.RandomLength]byte
}

// readState reads a state in its binary form. A field that it lacks would be 0
// without an error, and a number 0 would be that of our Finished again.
func readState(b []byte) (keptState, error) {
	var k keptState
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(&k); err != nil {
		return keptState{}, fmt.Errorf("state of pion/dtls: %w", err)
	}
	if k.LocalEpoch != sessionEpoch || k.RemoteEpoch != sessionEpoch || k.SequenceNumber == 0 || len(k.MasterSecret) == 0 {
		return keptState{}, fmt.Errorf("state of pion/dtls: epochs %d and %d, number %d, a secret of %d bytes",
			k.LocalEpoch, k.RemoteEpoch, k.SequenceNumber, len(k.MasterSecret))
	}
	return k, nil
}

func newSession(c recordCipher, send func([]byte), panicked func(any)) *session {
	return &session{
		send:     send,
		panicked: panicked,
		cipher:   c,
		window:   replaydetector.New(replayWindow, recordlayer.MaxSequenceNumber),
	}
}

// open decrypts a record of the peer in place and returns what it holds; kind is
// 0 if it is not one, or not a new one. Its length must have been checked.
func (s *session) open(record []byte) (kind byte, body []byte) {
	var h recordlayer.Header
	// Pion's ciphers let ChangeCipherSpec pass in clear.
	if !established(record) || h.Unmarshal(record) != nil || !h.Version.Equal(protocol.Version1_2) || h.Epoch != sessionEpoch {
		return 0, nil
	}
	accept, ok := s.window.Check(h.SequenceNumber)
	if !ok {
		return 0, nil
	}
	plain, err := s.cipher.Decrypt(recordlayer.Header{}, record)
	if err != nil {
		return 0, nil
	}
	accept()
	return plain[0], plain[headerLen:]
}

// write sends data in one record. Errors: [ErrNotConnected], [ErrTooLong].
func (s *session) write(data []byte) error {
	if len(data) > maxPlaintext {
		return ErrTooLong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealLocked(typeApplicationData, data)
}

// repeat answers a client that repeats its Finished: ours was lost. The same
// bytes again use no number twice for something else.
func (s *session) repeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil && !s.ended {
		s.handOverLocked(bytes.Clone(s.flight))
	}
}

// end makes sure that nothing is sent any more but, if notify is set, a
// close_notify.
func (s *session) end(notify bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if notify {
		_ = s.sealLocked(typeAlert, []byte{byte(alert.Warning), byte(alert.CloseNotify)})
	}
	s.ended = true
}

func (s *session) sealLocked(kind byte, data []byte) error {
	if s.ended || s.next > recordlayer.MaxSequenceNumber {
		return ErrNotConnected
	}
	r := recordlayer.RecordLayer{Header: recordlayer.Header{
		ContentType:    protocol.ContentType(kind),
		ContentLen:     uint16(len(data)),
		Version:        protocol.Version1_2,
		Epoch:          sessionEpoch,
		SequenceNumber: s.next,
	}}
	s.next++ // whatever becomes of this one
	plain, err := r.Header.Marshal()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	b, err := s.cipher.Encrypt(&r, append(plain, data...))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	s.handOverLocked(b)
	return nil
}

func (s *session) handOverLocked(datagram []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.panicked(v)
		}
	}()
	s.send(datagram)
}

// isFinished reports whether the body of a handshake record is a Finished.
func isFinished(body []byte) bool {
	return len(body) > 0 && handshake.Type(body[0]) == handshake.TypeFinished
}

// isLast reports whether the body of an alert ends a connection, and whether it
// is a close_notify, which is answered (RFC 5246 §7.2.1).
func isLast(body []byte) (last, closeNotify bool) {
	if len(body) != 2 {
		return false, false
	}
	closeNotify = alert.Description(body[1]) == alert.CloseNotify
	return closeNotify || alert.Level(body[0]) == alert.Fatal, closeNotify
}
