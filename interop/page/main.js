// A page that does what the test says: it asks for commands, runs them on
// mediasoup-client and answers with their results.
import { Device } from 'mediasoup-client';
import { Picture, Tone } from './sources.js';
import { watch, loudest, Recorder } from './sinks.js';

const name = new URLSearchParams(location.search).get('page');

async function post(path, body) {
	const response = await fetch(`/${path}?page=${name}`, { method: 'POST', body: JSON.stringify(body ?? null) });
	if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
	const text = await response.text();
	return text ? JSON.parse(text) : undefined;
}

// log sends what would stand in the console.
const log = (...args) => post('log', args.map((a) => (a instanceof Error ? `${a}\n${a.stack}` : String(a))).join(' ')).catch(() => {});
addEventListener('error', (e) => log('error', e.message));
addEventListener('unhandledrejection', (e) => log('rejection', e.reason));

let device;
const transports = new Map();
const producers = new Map();
const consumers = new Map();
const dataProducers = new Map();
const dataConsumers = new Map(); // with what came
const sources = [];
const elements = new Map(); // of consumers
let plain; // a connection without a library
const recorders = new Map(); // of consumers

const commands = {
	// load takes the capabilities of the router and returns ours.
	async load({ routerRtpCapabilities }) {
		device = new Device();
		await device.load({ routerRtpCapabilities });
		return { handler: device.handlerName, rtpCapabilities: device.rtpCapabilities };
	},

	// transport makes the transport of one direction, «send» or «recv».
	async transport({ direction, options }) {
		const transport = direction === 'send' ? device.createSendTransport(options) : device.createRecvTransport(options);
		transports.set(transport.id, transport);
		transport.on('connect', ({ dtlsParameters }, done, failed) => {
			post('connect', { transportId: transport.id, dtlsParameters }).then(done, failed);
		});
		transport.on('produce', ({ kind, rtpParameters }, done, failed) => {
			post('produce', { transportId: transport.id, kind, rtpParameters }).then(done, failed);
		});
		transport.on('producedata', ({ sctpStreamParameters, label, protocol }, done, failed) => {
			post('producedata', { transportId: transport.id, sctpStreamParameters, label, protocol }).then(done, failed);
		});
		transport.on('connectionstatechange', (state) => log('transport', direction, state));
	},

	// produceVideo sends a moving picture with the codec of that MIME type.
	async produceVideo({ transportId, mimeType, parameters, width, height, frameRate, busy, encodings, codecOptions }) {
		const codec = device.rtpCapabilities.codecs.find((c) =>
			c.mimeType.toLowerCase() === mimeType.toLowerCase()
			&& Object.entries(parameters ?? {}).every(([k, v]) => c.parameters[k] === v));
		if (!codec) throw new Error(`no codec ${mimeType} ${JSON.stringify(parameters)}`);
		const picture = new Picture(width, height, frameRate, busy);
		sources.push(picture);
		return produce(transportId, { track: picture.track, codec, encodings, codecOptions });
	},

	// produceCamera sends the browser's fake camera.
	async produceCamera({ transportId, mimeType, width, height, frameRate, encodings, codecOptions }) {
		const codec = device.rtpCapabilities.codecs.find((c) => c.mimeType.toLowerCase() === mimeType.toLowerCase());
		if (!codec) throw new Error(`no codec ${mimeType}`);
		const stream = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate } });
		sources.push(stream);
		return produce(transportId, { track: stream.getVideoTracks()[0], codec, encodings, codecOptions });
	},

	// produceMicrophone sends the browser's fake microphone.
	async produceMicrophone({ transportId }) {
		const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
		sources.push(stream);
		return produce(transportId, { track: stream.getAudioTracks()[0] });
	},

	// produceAudio sends a tone.
	async produceAudio({ transportId, frequency }) {
		const tone = new Tone(frequency);
		sources.push(tone);
		return produce(transportId, { track: tone.track });
	},

	// amplitude sets that of all tones, 0 to 1.
	amplitude({ value }) {
		for (const s of sources) if (s instanceof Tone) s.gain.gain.value = value;
	},

	// consume receives. jitterBuffer is how long frames wait for what is late,
	// in milliseconds; without it the browser waits for no retransmission.
	async consume({ transportId, options, jitterBuffer }) {
		const consumer = await transports.get(transportId).consume(options);
		consumers.set(consumer.id, consumer);
		if (jitterBuffer) consumer.rtpReceiver.jitterBufferTarget = jitterBuffer;
		const element = document.createElement(consumer.kind);
		// A muted audio element would count no energy.
		element.muted = consumer.kind === 'video';
		element.autoplay = true;
		element.srcObject = new MediaStream([consumer.track]);
		document.body.append(element);
		element.play().catch((e) => log('play', e));
		elements.set(consumer.id, element);
		return { mimeType: consumer.rtpParameters.codecs[0].mimeType };
	},

	// produceData opens a data channel.
	async produceData({ transportId, options }) {
		const producer = await transports.get(transportId).produceData(options);
		dataProducers.set(producer.id, producer);
		if (producer.readyState !== 'open') await new Promise((resolve) => producer.once('open', resolve));
		return { id: producer.id };
	},

	// consumeData receives one.
	async consumeData({ transportId, options }) {
		const consumer = await transports.get(transportId).consumeData(options);
		const got = { texts: 0, inOrder: 0, bytes: 0, longest: 0, sum: 0, last: -1 };
		dataConsumers.set(consumer.id, got);
		consumer.on('message', (m) => {
			if (typeof m === 'string') {
				got.texts++;
				const n = parseInt(m, 10);
				if (n > got.last) got.inOrder++;
				got.last = n;
				return;
			}
			const data = new Uint8Array(m);
			got.bytes += data.length;
			got.longest = Math.max(got.longest, data.length);
			for (const byte of data) got.sum += byte;
		});
	},

	// sendTexts sends numbers, so many every 20 ms.
	async sendTexts({ dataProducerId, count, each }) {
		const producer = dataProducers.get(dataProducerId);
		for (let n = 0; n < count;) {
			for (let i = 0; i < each && n < count; i++) producer.send(String(n++));
			await new Promise((resolve) => setTimeout(resolve, 20));
		}
	},

	// sendBytes sends one message and returns the sum of its bytes.
	sendBytes({ dataProducerId, length }) {
		const data = new Uint8Array(length);
		let sum = 0;
		for (let i = 0; i < length; i++) sum += data[i] = (i * 31) % 251;
		dataProducers.get(dataProducerId).send(data);
		return { sum };
	},

	// received returns what came.
	received({ id }) { return dataConsumers.get(id); },

	closeProducer({ producerId }) { producers.get(producerId).close(); },

	// closeConsumer ends what receives, and returns how its track fares.
	closeConsumer({ id }) {
		const consumer = consumers.get(id);
		consumer.close();
		return { track: consumer.track.readyState };
	},

	pauseProducer({ producerId }) { producers.get(producerId).pause(); },
	resumeProducer({ producerId }) { producers.get(producerId).resume(); },

	// answer takes an offer without a library, shows what comes and returns the
	// answer.
	async answer({ sdp }) {
		plain = new RTCPeerConnection();
		plain.ontrack = ({ track, transceiver }) => {
			if (transceiver.mid === 'probator') return;
			const element = document.createElement('video');
			element.muted = true;
			element.srcObject = new MediaStream([track]);
			document.body.append(element);
			element.play();
		};
		await plain.setRemoteDescription({ type: 'offer', sdp });
		await plain.setLocalDescription();
		return { sdp: plain.localDescription.sdp };
	},

	// heights returns how high the pictures are of what came by answer.
	async heights() {
		const heights = [];
		for (const s of (await plain.getStats()).values()) if (s.type === 'inbound-rtp') heights.push(s.frameHeight ?? 0);
		return heights;
	},

	async restartIce({ transportId, iceParameters }) { await transports.get(transportId).restartIce({ iceParameters }); },

	// stats returns the records of a producer or consumer by type.
	async stats({ id }) {
		const report = await (producers.get(id) ?? consumers.get(id)).getStats();
		const byType = {};
		for (const record of report.values()) byType[record.type] = record;
		return byType;
	},

	// late returns by how many milliseconds the machine let our pictures wait at
	// most since the last call.
	late() {
		const late = Math.max(0, ...sources.map((s) => s.late ?? 0));
		for (const s of sources) s.late = 0;
		return late;
	},

	// pair returns the candidate pair that a transport uses.
	async pair({ transportId }) {
		const report = await transports.get(transportId).getStats();
		for (const record of report.values()) {
			if (record.type !== 'transport' || !record.selectedCandidatePairId) continue;
			const pair = report.get(record.selectedCandidatePairId);
			const remote = report.get(pair.remoteCandidateId);
			return { protocol: remote.protocol, port: remote.port, srtpCipher: record.srtpCipher, dtlsState: record.dtlsState };
		}
	},

	// watch looks at the picture of a consumer for some time.
	async watch({ consumerId, milliseconds }) { return watch(elements.get(consumerId), milliseconds); },

	// record notes how a consumer fares until recorded, which returns that.
	record({ consumerId }) { recorders.set(consumerId, new Recorder(consumers.get(consumerId))); },
	recorded({ consumerId }) { return recorders.get(consumerId).stop(); },

	// loudest returns the frequency that a consumer plays, and how loud.
	async loudest({ consumerId }) { return loudest(consumers.get(consumerId).track); },

	// reload leaves everything behind, once the answer is on its way.
	reload() {},
};

async function produce(transportId, options) {
	const producer = await transports.get(transportId).produce({ ...options, zeroRtpOnPause: true });
	producers.set(producer.id, producer);
	return { id: producer.id, codec: producer.rtpParameters.codecs[0].mimeType };
}

async function run({ id, name: command, args }) {
	let result;
	let error;
	try {
		result = await commands[command](args ?? {});
	} catch (e) {
		error = `${e}\n${e?.stack}`;
	}
	await post('result', { id, result, error });
	if (command === 'reload') location.reload();
}

await post('hello');
for (let failed = 0; failed < 20;) {
	try {
		const command = await post('next');
		failed = 0;
		if (command) run(command).catch((e) => log('run', e));
	} catch (e) {
		failed++; // the test has ended, or restarts
		await new Promise((resolve) => setTimeout(resolve, 100));
	}
}
