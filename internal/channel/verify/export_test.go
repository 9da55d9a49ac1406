package verify

import "github.com/mafalda-sfu/mafalda/internal/channel/fbs"

// RandomReplies returns n random valid frames for each body of a response and
// for each event.
func RandomReplies(seed uint64, n int) (responses, notifications [][]byte) {
	m := newMaker(seed)
	for range n {
		for body := range 1 + len(unions[unionOf("Response")]) {
			responses = append(responses, m.frame(fbs.MessageBodyResponse, 0, byte(body)))
		}
		for event := range notificationBodies {
			notifications = append(notifications, m.frame(fbs.MessageBodyNotification, byte(event), 0))
		}
	}
	return responses, notifications
}
