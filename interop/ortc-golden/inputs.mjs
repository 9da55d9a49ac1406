// The inputs. Each function returns a list of [name, ...arguments].

// Every list is cut down to a size that the golden files can bear; the
// generator of pseudo-random numbers makes the same choice every time.
function random(seed) {
	return () => {
		seed = (seed + 0x6d2b79f5) | 0;
		let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

const pick = (next, list) => list[Math.floor(next() * list.length)];
const copy = v => JSON.parse(JSON.stringify(v));

// What a field may be by mistake.
const odd = [null, 0, 1, -1, 1.5, 200, 300, 5000000000, '', 'x', '1', true, false, [], {}, ['x'], [null], [[]], { x: 1 }];

// spoil yields base with the field at path absent, and with each odd value.
function spoil(name, base, path) {
	const cases = [];
	const set = (value, remove) => {
		const v = { root: copy(base) };
		let at = v;
		for (const key of ['root', ...path].slice(0, -1)) {
			at = at[key];
		}
		const last = path.length ? path.at(-1) : 'root';
		if (remove) {
			delete at[last];
		} else {
			at[last] = value;
		}
		return v.root;
	};
	const title = `${name} ${path.join('.') || 'all'}`;
	if (path.length) {
		cases.push([`${title} absent`, set(undefined, true)]);
	}
	for (const value of odd) {
		cases.push([`${title} = ${JSON.stringify(value)}`, set(value)]);
	}
	return cases;
}

const feedback = list => list.map(f => ({ type: f.split(' ')[0], parameter: f.split(' ')[1] ?? '' }));
const videoFeedback = feedback(['nack', 'nack pli', 'ccm fir', 'goog-remb', 'transport-cc']);

const uris = {
	mid: 'urn:ietf:params:rtp-hdrext:sdes:mid',
	rid: 'urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id',
	rrid: 'urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id',
	abs: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time',
	twcc: 'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
	level: 'urn:ietf:params:rtp-hdrext:ssrc-audio-level',
	dd: 'https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension',
	orientation: 'urn:3gpp:video-orientation',
	toffset: 'urn:ietf:params:rtp-hdrext:toffset',
	capture: 'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time',
	playout: 'http://www.webrtc.org/experiments/rtp-hdrext/playout-delay',
	packet: 'urn:mediasoup:params:rtp-hdrext:packet-id',
};

const multiopus = {
	4: { channel_mapping: '0,1,2,3', num_streams: 2, coupled_streams: 2 },
	6: { channel_mapping: '0,4,1,2,3,5', num_streams: 4, coupled_streams: 2 },
	8: { channel_mapping: '0,6,1,2,3,4,5,7', num_streams: 5, coupled_streams: 3 },
};

function codec(mimeType, clockRate, more = {}) {
	return { kind: mimeType.split('/')[0].toLowerCase(), mimeType, clockRate, ...more };
}

// All codecs that a Router supports, as an application would ask for them.
const known = {
	opus: codec('audio/opus', 48000, { channels: 2 }),
	multiopus4: codec('audio/multiopus', 48000, { channels: 4, parameters: multiopus[4] }),
	multiopus6: codec('audio/multiopus', 48000, { channels: 6, parameters: multiopus[6] }),
	multiopus8: codec('audio/multiopus', 48000, { channels: 8, parameters: multiopus[8] }),
	PCMU: codec('audio/PCMU', 8000),
	PCMA: codec('audio/PCMA', 8000),
	ISAC32: codec('audio/ISAC', 32000),
	ISAC16: codec('audio/ISAC', 16000),
	G722: codec('audio/G722', 8000),
	iLBC: codec('audio/iLBC', 8000),
	SILK24: codec('audio/SILK', 24000),
	SILK16: codec('audio/SILK', 16000),
	SILK12: codec('audio/SILK', 12000),
	SILK8: codec('audio/SILK', 8000),
	CN32: codec('audio/CN', 32000),
	CN16: codec('audio/CN', 16000),
	CN8: codec('audio/CN', 8000),
	dtmf48: codec('audio/telephone-event', 48000),
	dtmf32: codec('audio/telephone-event', 32000),
	dtmf16: codec('audio/telephone-event', 16000),
	dtmf8: codec('audio/telephone-event', 8000),
	VP8: codec('video/VP8', 90000),
	VP9: codec('video/VP9', 90000),
	H264: codec('video/H264', 90000),
	AV1: codec('video/AV1', 90000),
};

// ---- normalising ----

const audioCapability = {
	...known.opus,
	preferredPayloadType: 100,
	parameters: { useinbandfec: 1, ratio: 0.5, text: 'yes' },
	rtcpFeedback: [{ type: 'nack' }, { type: 'transport-cc', parameter: '' }],
};
const videoCapability = {
	...known.VP8,
	preferredPayloadType: 101,
	parameters: { 'x-google-start-bitrate': 1500 },
	rtcpFeedback: [{ type: 'nack', parameter: 'pli' }],
};
const rtxCapability = { ...codec('video/rtx', 90000), preferredPayloadType: 102, parameters: { apt: 101 } };
const headerExtension = { kind: 'video', uri: uris.mid, preferredId: 1, preferredEncrypt: false, direction: 'sendrecv' };

export function capabilities() {
	const base = { codecs: [audioCapability, videoCapability, rtxCapability], headerExtensions: [headerExtension] };
	const cases = [['plain', base], ['empty', {}], ['empty lists', { codecs: [], headerExtensions: [] }]];
	cases.push(...spoil('caps', base, []));
	const paths = ['codecs', 'headerExtensions', 'codecs.0', 'headerExtensions.0'];
	for (const key of ['kind', 'mimeType', 'preferredPayloadType', 'clockRate', 'channels', 'parameters', 'rtcpFeedback']) {
		paths.push(`codecs.0.${key}`, `codecs.1.${key}`);
	}
	paths.push('codecs.0.parameters.text', 'codecs.1.parameters.new', 'codecs.2.parameters.apt', 'codecs.0.parameters.apt');
	paths.push('codecs.1.rtcpFeedback.0', 'codecs.1.rtcpFeedback.0.type', 'codecs.1.rtcpFeedback.0.parameter');
	paths.push('codecs.1.rtcpFeedback.1');
	for (const key of ['kind', 'uri', 'preferredId', 'preferredEncrypt', 'direction']) {
		paths.push(`headerExtensions.0.${key}`);
	}
	for (const path of paths) {
		cases.push(...spoil('caps', base, path.split('.')));
	}
	for (const mimeType of mimeTypes) {
		cases.push([`mimeType ${JSON.stringify(mimeType)}`, { codecs: [{ ...audioCapability, mimeType }] }]);
	}
	for (const [name, c] of Object.entries(known)) {
		cases.push([`known ${name}`, { codecs: [{ ...c, preferredPayloadType: 100 }] }]);
	}
	for (const direction of ['sendonly', 'recvonly', 'inactive', 'SENDRECV']) {
		cases.push([`direction ${direction}`, { headerExtensions: [{ ...headerExtension, direction }] }]);
	}
	for (const uri of [...Object.values(uris), 'urn:unknown']) {
		cases.push([`uri ${uri}`, { headerExtensions: [{ kind: 'audio', uri, preferredId: 14 }] }]);
	}
	for (const n of [1e3, 1e21, 1.25, -0.5, -7, 9007199254740991, 1e-7, 12345678901234567890]) {
		cases.push([`number ${n}`, { codecs: [{ ...audioCapability, parameters: { n, s: `${n}` } }] }]);
	}
	return cases;
}

const mimeTypes = [
	'audio/opus', 'AUDIO/OPUS', 'Audio/Opus', 'video/VP8', 'VIDEO/vp8', 'video/rtx', 'audio/rtx', 'audio/', 'video/', 'audio', 'opus',
	'/opus', 'text/plain', 'application/data', 'audio/x-aiff', 'audio//x', 'audio/ ', ' audio/opus', 'audio /opus', 'audio/opus ',
	'audio/opus\n', 'audio/\nopus', 'videos/VP8', 'xaudio/opus', 'audio\\opus', 'video/VP8/90000', 'audio/öpus',
];

const codecParameters = {
	mimeType: 'audio/opus', payloadType: 111, clockRate: 48000, channels: 2,
	parameters: { useinbandfec: 1, ratio: 0.5, text: 'yes' }, rtcpFeedback: [{ type: 'nack' }],
};
const videoParameters = {
	mimeType: 'video/VP8', payloadType: 96, clockRate: 90000, parameters: { a: 'b' }, rtcpFeedback: [{ type: 'nack', parameter: 'pli' }],
};
const rtxParameters = { mimeType: 'video/rtx', payloadType: 97, clockRate: 90000, parameters: { apt: 96 }, rtcpFeedback: [] };

export function parameters() {
	const base = {
		mid: '0',
		codecs: [codecParameters, videoParameters, rtxParameters],
		headerExtensions: [{ uri: uris.mid, id: 1, encrypt: false, parameters: { a: 1 } }],
		encodings: [{
			ssrc: 1111, rid: 'r0', codecPayloadType: 96, rtx: { ssrc: 1112 }, dtx: true, scalabilityMode: 'L1T3', maxBitrate: 100000,
		}],
		rtcp: { cname: 'cname', reducedSize: true },
		msid: 'stream track',
	};
	const cases = [
		['plain', base],
		['codecs only', { codecs: [codecParameters] }],
		['no codecs', { codecs: [] }],
		['empty', {}],
		['encodings of every kind', { codecs: [videoParameters], encodings: [{}, { ssrc: 1 }, { rid: 'a' }, { ssrc: 2, rtx: { ssrc: 3 } }, { dtx: false }] }],
	];
	cases.push(...spoil('params', base, []));
	const paths = ['mid', 'codecs', 'headerExtensions', 'encodings', 'rtcp', 'msid', 'codecs.0', 'headerExtensions.0', 'encodings.0'];
	for (const key of ['mimeType', 'payloadType', 'clockRate', 'channels', 'parameters', 'rtcpFeedback']) {
		paths.push(`codecs.0.${key}`, `codecs.1.${key}`);
	}
	paths.push('codecs.0.parameters.text', 'codecs.1.parameters.new', 'codecs.2.parameters.apt');
	paths.push('codecs.1.rtcpFeedback.0', 'codecs.1.rtcpFeedback.0.type', 'codecs.1.rtcpFeedback.0.parameter');
	for (const key of ['uri', 'id', 'encrypt', 'parameters', 'parameters.a']) {
		paths.push(`headerExtensions.0.${key}`);
	}
	for (const key of ['ssrc', 'rid', 'codecPayloadType', 'rtx', 'rtx.ssrc', 'dtx', 'scalabilityMode', 'maxBitrate']) {
		paths.push(`encodings.0.${key}`);
	}
	paths.push('rtcp.cname', 'rtcp.reducedSize');
	for (const path of paths) {
		cases.push(...spoil('params', base, path.split('.')));
	}
	for (const mimeType of mimeTypes) {
		cases.push([`mimeType ${JSON.stringify(mimeType)}`, { codecs: [{ ...codecParameters, mimeType }] }]);
	}
	for (const [name, { kind, ...c }] of Object.entries(known)) {
		cases.push([`known ${name}`, { codecs: [{ ...c, payloadType: 111 }] }]);
	}
	return cases;
}

export function sctp() {
	const cases = [...spoil('sctp', { streamId: 1 }, [])];
	for (const key of ['streamId', 'ordered', 'maxPacketLifeTime', 'maxRetransmits']) {
		cases.push(...spoil('sctp', { streamId: 1 }, [key]));
	}
	const set = (o, key, v) => (v === undefined ? o : { ...o, [key]: v });
	for (const streamId of [0, 1, 65534, 65535, 65536, 70000]) {
		for (const ordered of [undefined, true, false]) {
			for (const maxPacketLifeTime of [undefined, 0, 1, 5000, 65535]) {
				for (const maxRetransmits of [undefined, 0, 1, 10]) {
					if (streamId > 1 && (maxRetransmits === 1 || maxPacketLifeTime === 1)) {
						continue;
					}
					const v = set(set(set({ streamId }, 'ordered', ordered), 'maxPacketLifeTime', maxPacketLifeTime), 'maxRetransmits', maxRetransmits);
					cases.push([JSON.stringify(v), v]);
				}
			}
		}
	}
	return cases;
}

export function scalability() {
	const modes = [
		'', 'foo', 'L1T1', 'L1T3', 'L3T2_KEY', 'S2T3', 'S2T3_KEY', 'L20T3', 'L4T7_KEY_SHIFT', 'S0T3', 'S1T0', 'S200T3', 'l1t3', ' L1T3', 'L1T3 ',
		'L1T3foo', 'L1T300', 'L3T3_key', 'L3T3_KE', 'L3T3KEY', 'L3T3h', 'L3T3h_KEY', 'L99T99', 'L100T1', 'L1T100', 'L1T', 'LT1', 'T1L1', 'M1T1', 'L01T1',
		'L1T01', 'L-1T1', 'L1.5T1', 'LxTy', 'L1 T1', 'L1T1\n', '\nL1T1', 'L１T１', 'S3T3_KEY_SHIFT', 'L10T10_KEY',
	];
	for (let l = 1; l <= 4; l++) {
		for (let t = 1; t <= 4; t++) {
			for (const end of ['', '_KEY']) {
				modes.push(`L${l}T${t}${end}`, `S${l}T${t}${end}`);
			}
		}
	}
	return [['none'], ...[...new Set(modes)].map(m => [JSON.stringify(m), m])];
}

// ---- the Router ----

// Sets of codecs that the later stages use, by name.
const routers = {
	usual: [known.opus, known.VP8, known.VP9, known.H264, known.AV1],
	audio: Object.entries(known).filter(([n, c]) => c.kind === 'audio' && n !== 'CN16' && n !== 'CN8').map(([, c]) => c),
	speech: [known.PCMU, known.PCMA, known.G722, known.CN8, known.dtmf8, known.dtmf48, { ...known.opus, parameters: { useinbandfec: 1, stereo: 1 } }],
	video: [known.VP8, known.VP9, known.H264, known.AV1],
	profiles: [
		known.opus,
		{ ...known.VP9, parameters: { 'profile-id': 0 } },
		{ ...known.VP9, parameters: { 'profile-id': 2 } },
		{ ...known.H264, parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f' } },
		{ ...known.H264, parameters: { 'packetization-mode': 0, 'profile-level-id': '42e01f' } },
		{ ...known.H264, parameters: { 'packetization-mode': 1, 'profile-level-id': '4d0032' } },
		{ ...known.H264, parameters: { 'packetization-mode': 1, 'profile-level-id': '640c34', 'level-asymmetry-allowed': 0 } },
		{ ...known.H264, parameters: { 'packetization-mode': 1, 'profile-level-id': 'f4001f' } },
	],
	explicit: [
		{ ...known.opus, preferredPayloadType: 111 },
		{ ...known.VP8, preferredPayloadType: 96 },
		{ ...known.H264, preferredPayloadType: 125, parameters: { 'packetization-mode': 1 } },
		{ ...known.PCMU, preferredPayloadType: 35 },
	],
	surround: [known.opus, known.multiopus6, known.multiopus8],
	nothing: [],
};

export function router() {
	const cases = Object.entries(routers).map(([name, codecs]) => [`set ${name}`, codecs]);
	cases.push(['undefined']);
	for (const value of [{}, 'x', 1, true, false, 0, '']) {
		cases.push([`list = ${JSON.stringify(value)}`, value]);
	}
	for (const value of odd) {
		cases.push([`element = ${JSON.stringify(value)}`, [value]]);
	}
	for (const [name, c] of Object.entries(known)) {
		cases.push([`one ${name}`, [c]]);
		cases.push([`lower case ${name}`, [{ ...c, mimeType: c.mimeType.toLowerCase() }]]);
		cases.push([`upper case ${name}`, [{ ...c, mimeType: c.mimeType.toUpperCase() }]]);
		cases.push([`twice ${name}`, [c, c]]);
		cases.push([`clock rate of ${name}`, [{ ...c, clockRate: c.clockRate + 1 }]]);
		for (const channels of [1, 2, 3, 6]) {
			cases.push([`${name} with ${channels} channels`, [{ ...c, channels }]]);
		}
		for (const preferredPayloadType of [0, 13, 35, 96, 100, 101, 127, 128, 200]) {
			cases.push([`${name} as ${preferredPayloadType}`, [{ ...c, preferredPayloadType }]]);
		}
		cases.push([`parameters of ${name}`, [{ ...c, parameters: { ...c.parameters, foo: 'bar', 'level-asymmetry-allowed': 0, n: 1.5 } }]]);
		cases.push([`feedback of ${name}`, [{ ...c, rtcpFeedback: [{ type: 'foo', parameter: 'bar' }] }]]);
	}
	for (const key of ['kind', 'mimeType', 'preferredPayloadType', 'clockRate', 'channels', 'parameters', 'rtcpFeedback']) {
		for (const [title, list] of spoil('opus', [{ ...known.opus, preferredPayloadType: 101 }], [0, key])) {
			cases.push([title, list]);
		}
		for (const [title, list] of spoil('VP8', [{ ...known.VP8, preferredPayloadType: 101 }], [0, key])) {
			cases.push([title, list]);
		}
	}
	for (const mimeType of ['audio/chicken', 'video/chicken', 'audio/x-aiff', 'video/3gpp', 'video/H265', 'video/H264-SVC', 'video/rtx', 'video/ulpfec', 'audio/red']) {
		cases.push([`unknown ${mimeType}`, [codec(mimeType, 90000)]]);
	}
	for (const n of [15, 16, 17, 31, 32, 33, 100]) {
		cases.push([`${n} times opus`, Array(n).fill(known.opus)]);
		cases.push([`${n} times VP8`, Array(n).fill(known.VP8)]);
	}
	const streams = [undefined, 1, 2, 4, 5, '4'];
	for (const num_streams of streams) {
		for (const coupled_streams of streams) {
			cases.push([
				`multiopus ${JSON.stringify([num_streams, coupled_streams])}`,
				[{ ...known.multiopus6, parameters: { channel_mapping: 'x', num_streams, coupled_streams } }],
			]);
		}
	}
	// Who comes first gets a payload type that the second asks for.
	for (const pt of [100, 101, 102, 103, 104]) {
		cases.push([`auto then ${pt}`, [known.VP8, { ...known.opus, preferredPayloadType: pt }]]);
		cases.push([`${pt} then auto`, [{ ...known.opus, preferredPayloadType: pt }, known.VP8]]);
		cases.push([`${pt} twice`, [{ ...known.opus, preferredPayloadType: pt }, { ...known.VP8, preferredPayloadType: pt }]]);
	}
	const next = random(1);
	const names = Object.keys(known);
	for (let i = 0; i < 150; i++) {
		const list = [];
		for (let n = 1 + Math.floor(next() * 8); n > 0; n--) {
			const c = { ...known[pick(next, names)] };
			if (next() < 0.3) {
				c.preferredPayloadType = pick(next, [0, 8, 9, 13, 35, 96, 97, 99, 100, 101, 102, 103, 110, 120, 127]);
			}
			if (next() < 0.2) {
				c.parameters = { ...c.parameters, 'profile-id': pick(next, [0, 1, 2]), maxplaybackrate: 48000 };
			}
			list.push(c);
		}
		cases.push([`random ${i}`, list]);
	}
	return cases;
}

export function h264() {
	const valid = [
		undefined, '42e01f', '42E01F', '42e034', '42e00a', '42e00b', '42f00b', '42e00c', '42c01f', '42a01f', '42001f', '42100b', '42800a', '42d01f',
		'4d001f', '4d0032', '4d100b', '4d900b', '4d801f', '4d401f', '58a01f', '58c01f', '58e01f', '58801f', '58f00b', '64001f', '640034', '640c1f',
		'640c0a', 'f4001f', 'f40034',
	];
	const invalid = [
		'4d201f', '4d081f', '64081f', 'f4101f', '42e000', '42e00e', '42e0ff', '42011f', '000000', '42e01', '42e01f0', 'CHICKEN', 'zzzzzz', '', ' 42e01',
		'+42e01', '0x42e0', 640034, 42, 0,
	];
	const cases = [];
	const of = id => (id === undefined ? {} : { 'profile-level-id': id });
	const pair = (a, b) => cases.push([`${JSON.stringify(a)} and ${JSON.stringify(b)}`, of(a), of(b)]);
	for (const a of valid) {
		for (const b of valid) {
			pair(a, b);
		}
	}
	for (const a of invalid) {
		for (const b of [undefined, '42e01f', '640034', '42e034', '']) {
			pair(a, b);
			if (a !== '' && !invalid.includes(b)) {
				pair(b, a);
			}
		}
	}
	const few = [undefined, '42e01f', '42e034', '42f00b', '42e00a', '640c1f'];
	const asymmetry = [undefined, 0, 1, '1', '0', 2, 'true'];
	for (const a of few) {
		for (const b of few) {
			for (const x of asymmetry) {
				for (const y of asymmetry) {
					if (a === b || (x === undefined && y === undefined) || (x !== 1 && y !== 1)) {
						continue;
					}
					cases.push([
						`${JSON.stringify([a, x])} and ${JSON.stringify([b, y])}`,
						{ ...of(a), 'level-asymmetry-allowed': x },
						{ ...of(b), 'level-asymmetry-allowed': y },
					]);
				}
			}
		}
	}
	const modes = [undefined, 0, 1, 2, '0', '1', ''];
	for (const x of modes) {
		for (const y of modes) {
			cases.push([`mode ${JSON.stringify(x)} and ${JSON.stringify(y)}`, { 'packetization-mode': x }, { 'packetization-mode': y }]);
		}
	}
	return cases;
}

// ---- the Producer ----

const send = (c, payloadType, more = {}) => {
	const { kind, ...rest } = c;
	return { ...rest, payloadType, parameters: c.parameters ?? {}, rtcpFeedback: kind === 'video' ? videoFeedback : [], ...more };
};
const channels = c => (c.kind === 'audio' ? { channels: c.channels ?? 1 } : {});
const rtx = (payloadType, apt) => ({ mimeType: 'video/rtx', payloadType, clockRate: 90000, parameters: { apt }, rtcpFeedback: [] });
const extensions = (...names) => names.map((n, i) => ({ uri: uris[n], id: i + 1, encrypt: false, parameters: {} }));
const produce = (codecs, encodings = [{ ssrc: 1111 }], more = {}) => ({
	codecs, headerExtensions: extensions('mid', 'abs'), encodings, rtcp: { cname: 'cname', reducedSize: true }, ...more,
});

const encodings = {
	none: [],
	one: [{ ssrc: 1111 }],
	rtx: [{ ssrc: 1111, rtx: { ssrc: 1112 } }],
	rid: [{ rid: 'r0' }],
	dtx: [{ ssrc: 1111, dtx: true, codecPayloadType: 96 }],
	notDtx: [{ ssrc: 1111, dtx: false }],
	three: [{ rid: 'r0', maxBitrate: 100000 }, { rid: 'r1', maxBitrate: 300000 }, { rid: 'r2', maxBitrate: 200000 }],
	temporal: [{ rid: 'r0', scalabilityMode: 'L1T3' }, { rid: 'r1', scalabilityMode: 'L1T3' }],
	mixed: [{ ssrc: 1, rtx: { ssrc: 2 } }, { ssrc: 3, scalabilityMode: 'L1T2', maxBitrate: 5 }, { rid: 'c', scalabilityMode: 'L1T5', dtx: true }],
	svc: [{ ssrc: 1111, scalabilityMode: 'L3T3_KEY', rtx: { ssrc: 1112 }, maxBitrate: 1500000 }],
	s: [{ ssrc: 1111, scalabilityMode: 'S3T3' }],
	odd: [{ rid: 'a', scalabilityMode: 'foo' }, { rid: 'b' }],
	four: [{ ssrc: 1 }, { ssrc: 2 }, { ssrc: 3 }, { ssrc: 4 }],
};

function producers() {
	const list = {};
	for (const [name, c] of Object.entries(known)) {
		list[name] = [c.kind, produce([send(c, 96, channels(c))])];
		if (c.kind === 'video') {
			list[`${name} with RTX`] = [c.kind, produce([send(c, 96), rtx(97, 96)], encodings.rtx)];
		}
	}
	for (const [name, e] of Object.entries(encodings)) {
		list[`encodings ${name}`] = ['video', produce([send(known.VP8, 96), rtx(97, 96)], e)];
		list[`audio encodings ${name}`] = ['audio', produce([send(known.opus, 96)], e)];
	}
	for (const name of Object.keys(uris)) {
		list[`extension ${name}`] = ['video', produce([send(known.VP8, 96)], encodings.one, { headerExtensions: extensions(name) })];
		list[`audio extension ${name}`] = ['audio', produce([send(known.opus, 96)], encodings.one, { headerExtensions: extensions(name) })];
	}
	list['all extensions'] = ['video', produce([send(known.VP8, 96)], encodings.three, { headerExtensions: extensions(...Object.keys(uris)) })];
	list['no extensions'] = ['video', produce([send(known.VP8, 96)], encodings.three, { headerExtensions: [] })];
	list['mid and msid'] = ['video', produce([send(known.VP8, 96)], encodings.one, { mid: '7', msid: 'a b' })];
	list['no cname'] = ['video', produce([send(known.VP8, 96)], encodings.one, { rtcp: { reducedSize: true } })];
	list['two codecs'] = ['video', produce([send(known.VP8, 96), rtx(97, 96), send(known.VP9, 98), rtx(99, 98)], encodings.rtx)];
	list['RTX first'] = ['video', produce([rtx(97, 96), send(known.VP8, 96)], encodings.rtx)];
	list['RTX in upper case'] = ['video', produce([send(known.VP8, 96), { ...rtx(97, 96), mimeType: 'VIDEO/RTX' }], encodings.rtx)];
	list['two RTX'] = ['video', produce([send(known.VP8, 96), rtx(97, 96), rtx(98, 96)], encodings.rtx)];
	list['RTX of nothing'] = ['video', produce([send(known.VP8, 96), rtx(97, 95)])];
	list['RTX of RTX'] = ['video', produce([send(known.VP8, 96), rtx(97, 98), rtx(98, 97)])];
	list['RTX of itself'] = ['video', produce([send(known.VP8, 96), rtx(97, 97)])];
	list['RTX without apt'] = ['video', produce([send(known.VP8, 96), { ...rtx(97, 96), parameters: {} }])];
	list['RTX of audio'] = ['audio', produce([send(known.opus, 96), { ...rtx(97, 96), mimeType: 'audio/rtx', clockRate: 48000 }])];
	list['same payload type'] = ['video', produce([send(known.VP8, 96), send(known.VP9, 96), rtx(97, 96)])];
	list['opus with dtmf'] = ['audio', produce([send(known.opus, 111), send(known.dtmf48, 110, { channels: 1 }), send(known.CN32, 106, { channels: 1 })])];
	list['opus mono'] = ['audio', produce([send(known.opus, 111, { channels: 1 })])];
	list['opus in upper case'] = ['audio', produce([send({ ...known.opus, mimeType: 'AUDIO/OPUS' }, 111)])];
	list['opus at 44100'] = ['audio', produce([send({ ...known.opus, clockRate: 44100 }, 111)])];
	list['opus parameters'] = ['audio', produce([send({ ...known.opus, parameters: { useinbandfec: 1, usedtx: 1, foo: 'bar', q: 1.5 } }, 111)])];
	list['no codecs'] = ['audio', produce([])];
	for (const mimeType of ['video/ulpfec', 'video/red', 'audio/red', 'video/H265', 'video/flexfec-03', 'audio/chicken']) {
		list[mimeType] = [mimeType.split('/')[0], produce([send(codec(mimeType, 90000), 96)])];
	}
	for (const profile of [0, 1, 2, 3, '0', '2', '']) {
		list[`VP9 profile ${JSON.stringify(profile)}`] = ['video', produce([send({ ...known.VP9, parameters: { 'profile-id': profile } }, 98), rtx(99, 98)])];
	}
	for (const id of ['42e01f', '42001f', '42e034', '4d0032', '4d001f', '640c1f', '64001f', 'f4001f', 'CHICKEN']) {
		for (const mode of [undefined, 0, 1]) {
			for (const asymmetry of [undefined, 1]) {
				const parameters = copy({ 'packetization-mode': mode, 'profile-level-id': id, 'level-asymmetry-allowed': asymmetry });
				list[`H264 ${JSON.stringify(parameters)}`] = ['video', produce([send({ ...known.H264, parameters }, 125), rtx(107, 125)], encodings.rtx)];
			}
		}
	}
	for (const [n, c] of [[1, 1], [2, 2], [4, 2], [4, 1], [2, 2], [5, 3], ['4', '2']]) {
		list[`multiopus ${JSON.stringify([n, c])}`] = ['audio', produce([send({ ...known.multiopus6, parameters: { num_streams: n, coupled_streams: c, useinbandfec: 1 } }, 111)])];
	}
	return list;
}

// mapping uses the capabilities of the named Routers.
export function mapping(generated) {
	const caps = Object.fromEntries(Object.keys(routers).map(name => [name, generated.find(g => g.title === `set ${name}`).out]));
	const cases = [];
	for (const [name, [, params]] of Object.entries(producers())) {
		for (const [router, c] of Object.entries(caps)) {
			// The Routers of one kind say little about the other.
			if ((router === 'audio' || router === 'speech' || router === 'surround') && params.codecs[0]?.mimeType.startsWith('video')) {
				continue;
			}
			if ((router === 'nothing' || router === 'explicit') && name.includes('xtension')) {
				continue;
			}
			cases.push([`${name} on ${router}`, params, c]);
		}
	}
	const usual = caps.usual;
	const withoutRtx = { ...usual, codecs: usual.codecs.filter(c => c.mimeType !== 'video/rtx') };
	cases.push(['RTX on none', producers()['VP8 with RTX'][1], withoutRtx]);
	return cases;
}

export function consumable(mapped) {
	const cases = [];
	const kinds = producers();
	for (const { title, args, out } of mapped) {
		if (!out) {
			continue;
		}
		const kind = kinds[title.split(' on ')[0]]?.[0] ?? 'video';
		cases.push([title, kind, out.params, args[1], out.mapping]);
	}
	const { args, out } = mapped.find(m => m.title === 'VP8 with RTX on usual');
	cases.push(['video as audio', 'audio', out.params, args[1], out.mapping]);
	cases.push(['unknown kind', 'chicken', out.params, args[1], out.mapping]);
	cases.push(['mapping without codecs', 'video', out.params, args[1], { ...out.mapping, codecs: [] }]);
	cases.push(['mapping without encodings', 'video', out.params, args[1], { ...out.mapping, encodings: [] }]);
	cases.push(['mapping to nowhere', 'video', out.params, args[1], { ...out.mapping, codecs: [{ payloadType: 96, mappedPayloadType: 1 }] }]);
	for (const direction of ['sendrecv', 'sendonly', 'recvonly', 'inactive']) {
		const headerExtensions = args[1].headerExtensions.map((e, i) => ({ ...e, direction, preferredEncrypt: i % 2 === 0 }));
		cases.push([`extensions ${direction}`, 'video', out.params, { ...args[1], headerExtensions }, out.mapping]);
		cases.push([`audio extensions ${direction}`, 'audio', out.params, { ...args[1], headerExtensions }, out.mapping]);
	}
	return cases;
}

// ---- the Consumer ----

// remotes are capabilities of endpoints, made from what a consumable offers.
function remotes(consumableParams) {
	const codecs = consumableParams.codecs.map(({ payloadType, ...c }) => ({
		kind: c.mimeType.split('/')[0], ...c, preferredPayloadType: payloadType,
	}));
	const kind = codecs[0]?.kind ?? 'video';
	const headerExtensions = consumableParams.headerExtensions.map(({ uri, id }) => ({ kind, uri, preferredId: id, preferredEncrypt: false, direction: 'sendrecv' }));
	const all = { codecs, headerExtensions };
	const media = codecs.filter(c => !c.mimeType.endsWith('rtx'));
	const only = (...names) => headerExtensions.filter(e => names.some(n => uris[n] === e.uri));
	const change = f => ({ codecs: codecs.map(c => f(copy(c))), headerExtensions });
	return {
		all,
		'no extensions': { codecs, headerExtensions: [] },
		'no lists': {},
		'no codecs': { codecs: [], headerExtensions },
		'media only': { codecs: media, headerExtensions },
		'RTX only': { codecs: codecs.filter(c => c.mimeType.endsWith('rtx')), headerExtensions },
		'abs-send-time': { codecs, headerExtensions: only('abs') },
		'twcc': { codecs, headerExtensions: only('twcc') },
		'both': { codecs, headerExtensions: only('twcc', 'abs').reverse() },
		'mid': { codecs, headerExtensions: only('mid') },
		'other ids': { codecs, headerExtensions: headerExtensions.map(e => ({ ...e, preferredId: e.preferredId + 1 })) },
		'other kind': { codecs, headerExtensions: headerExtensions.map(e => ({ ...e, kind: kind === 'audio' ? 'video' : 'audio' })) },
		'no feedback': change(c => ({ ...c, rtcpFeedback: [] })),
		'feedback absent': change(({ rtcpFeedback, ...c }) => c),
		'foreign feedback': change(c => ({ ...c, rtcpFeedback: [...feedback(['foo', 'nack foo', 'nack', 'nack pli', 'goog-remb x', 'transport-cc y']), { type: 'bar' }] })),
		'all feedback': change(c => ({ ...c, rtcpFeedback: videoFeedback })),
		'other payload types': change(c => ({ ...c, preferredPayloadType: c.preferredPayloadType - 20, ...(c.parameters.apt ? { parameters: { apt: c.parameters.apt - 20 } } : {}) })),
		'no payload types': change(({ preferredPayloadType, ...c }) => c),
		'no channels': change(({ channels, ...c }) => c),
		'eight channels': change(c => (c.channels ? { ...c, channels: 8 } : c)),
		'other case': change(c => ({ ...c, mimeType: c.mimeType.toUpperCase() })),
		'other clock rate': change(c => ({ ...c, clockRate: 1 })),
		'other profile': change(c => ({ ...c, parameters: { ...c.parameters, 'profile-id': 3, 'profile-level-id': '64001f', num_streams: 9 } })),
		'other parameters': change(c => ({ ...c, parameters: { ...c.parameters, foo: 'bar', 'x-n': 2 } })),
		'reversed': { codecs: [...codecs].reverse(), headerExtensions: [...headerExtensions].reverse() },
		'other codec': { codecs: [{ ...codec('video/H265', 90000), preferredPayloadType: 50 }], headerExtensions },
		'bad mimeType': change(c => ({ ...c, mimeType: 'chicken' })),
		'bad clockRate': change(c => ({ ...c, clockRate: 'x' })),
		'bad apt': change(c => ({ ...c, parameters: { apt: 'x' } })),
		'bad extension': { codecs, headerExtensions: [{ kind: 'chicken', uri: uris.mid, preferredId: 1 }] },
		'bad feedback': change(c => ({ ...c, rtcpFeedback: [{ parameter: 'pli' }] })),
		'codecs not a list': { codecs: {}, headerExtensions },
		'null': null,
		'wide H264': { codecs: [...codecs, { ...codec('video/H264', 90000), preferredPayloadType: 1, parameters: { 'profile-level-id': '42e034', 'level-asymmetry-allowed': 1, 'packetization-mode': 1 } }], headerExtensions },
	};
}

// The consumables whose Consumers are tried with every remote.
const favourites = [
	'opus on usual', 'VP8 with RTX on usual', 'VP9 with RTX on usual', 'H264 with RTX on usual', 'AV1 with RTX on usual', 'encodings three on usual',
	'encodings mixed on usual', 'two codecs on video', 'multiopus [4,2] on surround', 'opus with dtmf on audio', 'encodings svc on explicit',
	'H264 {"packetization-mode":1,"profile-level-id":"4d0032","level-asymmetry-allowed":1} on profiles', 'VP9 profile 2 on profiles',
	'audio extension capture on usual', 'all extensions on usual', 'mid and msid on usual',
];

function* offers(results) {
	const seen = new Set();
	for (const { title, out } of results) {
		const text = JSON.stringify(out);
		if (!out || seen.has(text)) {
			continue;
		}
		seen.add(text);
		for (const [name, caps] of Object.entries(remotes(out))) {
			if (favourites.includes(title) || name === 'all' || name === 'media only') {
				yield [`${title}, ${name}`, out, caps];
			}
		}
	}
}

export const canConsume = results => [...offers(results)];

export function consumer(results) {
	const cases = [];
	for (const [title, params, caps] of offers(results)) {
		for (const pipe of [false, true]) {
			for (const enableRtx of [false, true]) {
				cases.push([`${title}${pipe ? ', pipe' : ''}${enableRtx ? ', RTX' : ''}`, params, caps, pipe, enableRtx]);
			}
		}
	}
	// RTX without its media codec, twice, and of itself.
	const { out } = results.find(r => r.title === 'two codecs on video');
	const caps = remotes(out).all;
	const [vp8, rtx8, vp9, rtx9] = out.codecs;
	const lists = {
		'RTX before media': [rtx8, vp8], 'RTX of the absent': [vp8, rtx9], 'two RTX': [vp8, rtx8, { ...rtx8, payloadType: 120 }],
		'RTX of itself': [vp8, { ...rtx8, parameters: { apt: rtx8.payloadType } }], 'RTX without apt': [vp8, { ...rtx8, parameters: {} }], 'VP9 before VP8': [vp9, rtx9, vp8, rtx8], none: [],
	};
	for (const [name, codecs] of Object.entries(lists)) {
		for (const enableRtx of [false, true]) {
			cases.push([`${name}${enableRtx ? ', RTX' : ''}`, { ...out, codecs }, caps, false, enableRtx]);
		}
	}
	return cases;
}

export function pipe(results) {
	const cases = [];
	const seen = new Set();
	for (const { title, out } of results) {
		const text = JSON.stringify(out);
		if (!out || seen.has(text)) {
			continue;
		}
		seen.add(text);
		cases.push([title, out, false], [`${title}, RTX`, out, true]);
	}
	const { out } = results.find(r => r.title === 'two codecs on video');
	const foreign = feedback(['nack', 'nack pli', 'nack foo', 'ccm fir', 'ccm tmmbr', 'goog-remb', 'transport-cc', 'bar']);
	for (const enableRtx of [false, true]) {
		const end = enableRtx ? ', RTX' : '';
		cases.push([`foreign feedback${end}`, { ...out, codecs: out.codecs.map(c => ({ ...c, rtcpFeedback: foreign })) }, enableRtx]);
		cases.push([`reversed extensions${end}`, { ...out, headerExtensions: [...out.headerExtensions].reverse() }, enableRtx]);
		cases.push([`no extensions${end}`, { ...out, headerExtensions: [] }, enableRtx]);
		cases.push([`no codecs${end}`, { ...out, codecs: [] }, enableRtx]);
		cases.push([`no encodings${end}`, { ...out, encodings: [] }, enableRtx]);
		cases.push([`RTX of encodings${end}`, { ...out, encodings: [{ ssrc: 1, rtx: { ssrc: 2 }, dtx: true, scalabilityMode: 'L3T3', maxBitrate: 7 }] }, enableRtx]);
	}
	return cases;
}
