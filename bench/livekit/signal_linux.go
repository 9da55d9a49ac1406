package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/net/websocket"
)

// Fields of LiveKit's signalling messages, by their numbers in its
// livekit_rtc.proto.
const (
	// WrappedJoinRequest
	wrappedJoin = 2
	// JoinRequest
	joinClient, joinSettings = 1, 2
	// ClientInfo
	clientProtocol = 3
	// ConnectionSettings
	settingsAutoSubscribe = 1
	// SignalRequest
	requestOffer, requestAddTrack = 1, 4
	// SignalResponse
	responseJoin, responseAnswer, responseTrackPublished, responseLeave, responseSections = 1, 2, 6, 8, 25
	// SessionDescription
	descriptionType, descriptionSDP, descriptionID = 1, 2, 3
	// AddTrackRequest
	trackCID, trackName, trackType, trackWidth, trackHeight, trackSource, trackLayers = 1, 2, 3, 4, 5, 8, 9
	// VideoLayer
	layerQuality, layerWidth, layerHeight = 1, 2, 3
)

const (
	// protocolVersion is the newest that the server knows.
	protocolVersion = 17
	video           = 1 // a type of tracks
	camera          = 1 // a source of tracks
	high            = 2 // the quality of a track of one layer

	trackID   = "camera"
	signaling = 20 * time.Second // until an answer must have come
)

// token is an access token (RFC 7519), signed with HMAC and SHA-256.
func token(name string, publishes bool) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": apiKey, "sub": name, "exp": time.Now().Add(time.Hour).Unix(),
		"video": map[string]any{"roomJoin": true, "room": "bench", "canPublish": publishes, "canSubscribe": !publishes},
	})
	if err != nil {
		return "", err
	}
	e := base64.RawURLEncoding
	head := e.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + e.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(apiSecret))
	mac.Write([]byte(head))
	return head + "." + e.EncodeToString(mac.Sum(nil)), nil
}

// A member is a peer in the room.
type member struct {
	conn *websocket.Conn
	// responses are those that somebody may wait for, by their fields.
	responses map[int]chan []byte
	ended     chan struct{}
	err       error // why, when it has ended
}

// joinRoom returns when the server has let somebody in.
func joinRoom(name string, publishes bool) (*member, error) {
	access, err := token(name, publishes)
	if err != nil {
		return nil, err
	}
	settings := appendNumber(nil, settingsAutoSubscribe, 1)
	join := appendBytes(nil, joinClient, appendNumber(nil, clientProtocol, protocolVersion))
	join = appendBytes(join, joinSettings, settings)
	query := url.Values{
		"access_token": {access},
		"join_request": {base64.URLEncoding.EncodeToString(appendBytes(nil, wrappedJoin, join))},
	}
	conn, err := websocket.Dial("ws://"+signalAddr+"/rtc/v1?"+query.Encode(), "", "http://"+signalAddr)
	if err != nil {
		return nil, err
	}
	m := &member{conn: conn, responses: map[int]chan []byte{}, ended: make(chan struct{})}
	for _, field := range []int{responseJoin, responseAnswer, responseTrackPublished, responseSections} {
		m.responses[field] = make(chan []byte, 1)
	}
	go m.read() // ends with the connection
	if _, err := m.wait(responseJoin); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// read takes what the server says; it also answers its pings.
func (m *member) read() {
	defer close(m.ended)
	for {
		var b []byte
		if m.err = websocket.Message.Receive(m.conn, &b); m.err != nil {
			return
		}
		m.err = fields(b, func(field int, _ uint64, value []byte) error {
			if field == responseLeave {
				return fmt.Errorf("the server sent it away: %x", value)
			}
			select {
			case m.responses[field] <- value:
			default: // nobody has asked
			}
			return nil
		})
		if m.err != nil {
			return
		}
	}
}

// wait returns the next response of a kind.
func (m *member) wait(field int) ([]byte, error) {
	select {
	case v := <-m.responses[field]:
		return v, nil
	case <-m.ended:
		return nil, m.err
	case <-time.After(signaling):
		return nil, fmt.Errorf("no response %d after %v", field, signaling)
	}
}

// publish says what is going to be sent.
func (m *member) publish() error {
	const width, height = 640, 360 // as the key frames have it
	layer := appendNumber(nil, layerQuality, high)
	layer = appendNumber(layer, layerWidth, width)
	layer = appendNumber(layer, layerHeight, height)
	b := appendBytes(nil, trackCID, []byte(trackID))
	b = appendBytes(b, trackName, []byte(trackID))
	b = appendNumber(b, trackType, video)
	b = appendNumber(b, trackWidth, width)
	b = appendNumber(b, trackHeight, height)
	b = appendNumber(b, trackSource, camera)
	b = appendBytes(b, trackLayers, layer)
	if err := websocket.Message.Send(m.conn, appendBytes(nil, requestAddTrack, b)); err != nil {
		return err
	}
	_, err := m.wait(responseTrackPublished)
	return err
}

// offer returns the answer.
func (m *member) offer(sdp string) (string, error) {
	b := appendBytes(nil, descriptionType, []byte("offer"))
	b = appendBytes(b, descriptionSDP, []byte(sdp))
	b = appendNumber(b, descriptionID, 1)
	if err := websocket.Message.Send(m.conn, appendBytes(nil, requestOffer, b)); err != nil {
		return "", err
	}
	v, err := m.wait(responseAnswer)
	if err != nil {
		return "", err
	}
	answer := ""
	err = fields(v, func(field int, _ uint64, value []byte) error {
		if field == descriptionSDP {
			answer = string(value)
		}
		return nil
	})
	return answer, err
}
