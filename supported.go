package mafalda

// SupportedRTPCapabilities returns the codecs that a Router may be created with
// and the header extensions that every Router has. The result is the caller's.
//
// The codecs with a payload type are those that have a static one in RFC 3551.
func SupportedRTPCapabilities() RouterRTPCapabilities {
	return RouterRTPCapabilities{Codecs: supportedCodecs(), HeaderExtensions: supportedHeaderExtensions()}
}

func supportedCodecs() []RouterRTPCodecCapability {
	nack := RTCPFeedback{Type: "nack"}
	transportCC := RTCPFeedback{Type: "transport-cc"}
	multiopus := func(channels uint8, mapping string, streams, coupled int) RouterRTPCodecCapability {
		c := supportedAudio("audio/multiopus", 48000, channels, nack, transportCC)
		c.Parameters["channel_mapping"] = mapping
		c.Parameters["num_streams"] = streams
		c.Parameters["coupled_streams"] = coupled
		return c
	}
	static := func(payloadType uint8, c RouterRTPCodecCapability) RouterRTPCodecCapability {
		c.PreferredPayloadType = &payloadType
		return c
	}
	h264 := supportedVideo("video/H264")
	h264.Parameters["level-asymmetry-allowed"] = 1

	return []RouterRTPCodecCapability{
		supportedAudio("audio/opus", 48000, 2, nack, transportCC),
		multiopus(4, "0,1,2,3", 2, 2),
		multiopus(6, "0,4,1,2,3,5", 4, 2),
		multiopus(8, "0,6,1,2,3,4,5,7", 5, 3),
		static(0, supportedAudio("audio/PCMU", 8000, 1, transportCC)),
		static(8, supportedAudio("audio/PCMA", 8000, 1, transportCC)),
		supportedAudio("audio/ISAC", 32000, 1, transportCC),
		supportedAudio("audio/ISAC", 16000, 1, transportCC),
		static(9, supportedAudio("audio/G722", 8000, 1, transportCC)),
		supportedAudio("audio/iLBC", 8000, 1, transportCC),
		supportedAudio("audio/SILK", 24000, 1, transportCC),
		supportedAudio("audio/SILK", 16000, 1, transportCC),
		supportedAudio("audio/SILK", 12000, 1, transportCC),
		supportedAudio("audio/SILK", 8000, 1, transportCC),
		static(13, supportedAudio("audio/CN", 32000, 1)),
		static(13, supportedAudio("audio/CN", 16000, 1)),
		static(13, supportedAudio("audio/CN", 8000, 1)),
		supportedAudio("audio/telephone-event", 48000, 1),
		supportedAudio("audio/telephone-event", 32000, 1),
		supportedAudio("audio/telephone-event", 16000, 1),
		supportedAudio("audio/telephone-event", 8000, 1),
		supportedVideo("video/VP8"),
		supportedVideo("video/VP9"),
		h264,
		supportedVideo("video/AV1"),
	}
}

func supportedAudio(mimeType string, clockRate uint32, channels uint8, feedback ...RTCPFeedback) RouterRTPCodecCapability {
	return RouterRTPCodecCapability{
		Kind:         MediaKindAudio,
		MIMEType:     mimeType,
		ClockRate:    clockRate,
		Channels:     channels,
		Parameters:   map[string]any{},
		RTCPFeedback: append([]RTCPFeedback{}, feedback...),
	}
}

func supportedVideo(mimeType string) RouterRTPCodecCapability {
	return RouterRTPCodecCapability{
		Kind:       MediaKindVideo,
		MIMEType:   mimeType,
		ClockRate:  90000,
		Parameters: map[string]any{},
		RTCPFeedback: []RTCPFeedback{
			{Type: "nack"},
			{Type: "nack", Parameter: "pli"},
			{Type: "ccm", Parameter: "fir"},
			{Type: "goog-remb"},
			{Type: "transport-cc"},
		},
	}
}

func supportedHeaderExtensions() []RTPHeaderExtension {
	const (
		audio = MediaKindAudio
		video = MediaKindVideo
		both  = RTPHeaderExtensionSendRecv
		recv  = RTPHeaderExtensionRecvOnly
	)
	return []RTPHeaderExtension{
		{Kind: audio, URI: RTPHeaderExtensionMID, PreferredID: 1, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionMID, PreferredID: 1, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionRTPStreamID, PreferredID: 2, Direction: recv},
		{Kind: video, URI: RTPHeaderExtensionRepairedRTPStreamID, PreferredID: 3, Direction: recv},
		{Kind: audio, URI: RTPHeaderExtensionAbsSendTime, PreferredID: 4, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionAbsSendTime, PreferredID: 4, Direction: both},
		// As in mediasoup, Consumers of audio don't get it.
		{Kind: audio, URI: RTPHeaderExtensionTransportWideCC, PreferredID: 5, Direction: recv},
		{Kind: video, URI: RTPHeaderExtensionTransportWideCC, PreferredID: 5, Direction: both},
		{Kind: audio, URI: RTPHeaderExtensionSSRCAudioLevel, PreferredID: 6, Direction: both},
		// Unlike mediasoup, which has recvonly: without the dependency descriptor
		// a browser cannot decode an AV1 stream that lacks some of its layers.
		{Kind: video, URI: RTPHeaderExtensionDependencyDescriptor, PreferredID: 7, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionVideoOrientation, PreferredID: 8, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionTimeOffset, PreferredID: 9, Direction: both},
		{Kind: audio, URI: RTPHeaderExtensionAbsCaptureTime, PreferredID: 10, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionAbsCaptureTime, PreferredID: 10, Direction: both},
		{Kind: audio, URI: RTPHeaderExtensionPlayoutDelay, PreferredID: 11, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionPlayoutDelay, PreferredID: 11, Direction: both},
		{Kind: audio, URI: RTPHeaderExtensionPacketID, PreferredID: 12, Direction: both},
		{Kind: video, URI: RTPHeaderExtensionPacketID, PreferredID: 12, Direction: both},
	}
}
