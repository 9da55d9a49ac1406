// Package layerfilter decides, packet by packet, which layers of a scalable video
// stream reach one Consumer, and keeps the numbering inside VP8 payloads
// continuous (worker/src/RTC/Codecs; media-plane notes §7.9).
//
// Whoever uses it chooses the target layers; a [Filter] moves the current ones
// towards them where the codec allows it:
//
//	            spatial up     spatial down             temporal up       temporal down
//	VP8         –              –                        Y bit             at once
//	VP9         key frame      end of a frame of the    U bit, start of   end of a frame of
//	                           target; K-SVC key frame  a frame           the target
//	H264        –              –                        at once           at once
//	AV1         key frame      as VP9                   at once           as VP9
//
// VP8 and H264 have no spatial layers within a stream. Simulcast, where each
// spatial layer is a stream, is left to the caller, who tells of every switch
// with [Filter.Sync].
package layerfilter
