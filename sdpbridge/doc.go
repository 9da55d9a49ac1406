// Package sdpbridge lets whoever speaks SDP be a peer of a Router: a browser
// page without any library, a WHIP or WHEP client, a pion/webrtc
// PeerConnection. It translates SDP into the parameters of package mafalda and
// back.
//
// A [Session] negotiates one PeerConnection over one WebRTCTransport. The peer
// publishes with an offer, which the Session answers:
//
//	session, err := sdpbridge.NewSession(sdpbridge.Options{Router: router, Transport: transport})
//	answer, err := session.Answer(ctx, offer) // the Producers are in transport.Producers()
//
// and it receives through offers of the Session:
//
//	consumer, err := session.Consume(ctx, mafalda.ConsumerOptions{ProducerID: id})
//	offer, err := session.Offer(ctx)
//	err = session.SetAnswer(ctx, answer)
//
// Data channels are there if the Transport has EnableSCTP, in either direction.
// DataProducers and DataConsumers are the application's: nothing is negotiated
// inside of SCTP, so the peer opens its channels with «negotiated» and the
// stream ids that the application tells it.
//
// When Producers come and go, either side offers again. An m-section that is
// no longer used is taken for the next one. A whole program, server and page,
// is examples/room of this module.
//
// # One direction for each PeerConnection
//
// A Router sends with payload types and header-extension ids of its own. In an
// offer of the Session that is no matter: the peer takes them. A peer that
// offers has numbers of its own, and then a Session can
//
//   - receive whatever the Router has a codec for,
//   - send with codecs and extensions only whose numbers are the same on both
//     sides.
//
// So a page that publishes and receives is best off with two PeerConnections,
// as in mediasoup-client. For a WHEP player, which offers to receive, give the
// Router the payload types of the player (RouterRTPCodecCapability.PreferredPayloadType).
//
// # What is negotiated
//
// BUNDLE and rtcp-mux are required, all m-sections share one transport. Of the
// codecs of an m-section that the peer sends, the Router's first is taken,
// with its retransmission. Simulcast by RIDs is accepted with VP8 and H264; the
// peer lists the smallest stream first, since the order of the RIDs is that of
// the layers. With other codecs it is answered without, so that the peer sends
// one stream. What is
// neither audio nor video nor data channels is rejected. The Router is ICE-lite: candidates of the peer are
// not needed, and all of ours are in the first description, so trickling ICE
// is of no use. An offer with new ICE credentials restarts ICE; for the other
// side call RestartICE of the transport and make an offer.
//
// With Options.Probator an offer has one m-section more than Consumers, with
// the MID «probator»: a page skips the track event whose transceiver has it.
//
// SDP is checked before anything changes. What is malformed, or lacks what
// every WebRTC endpoint has, is a [mafalda.ErrInvalidArgument].
package sdpbridge
