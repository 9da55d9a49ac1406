// A small application on npm's mediasoup: two or more peers who talk. Its
// worker is whatever MEDIASOUP_WORKER_BIN names. A call is a POST of JSON; a
// peer gets what others cause with /next, which waits for it.
import http from 'node:http';
import * as mediasoup from 'mediasoup';

const worker = await mediasoup.createWorker({ logLevel: 'warn' });
worker.on('died', (error) => {
	console.error('the worker died', error);
	process.exit(1);
});
const router = await worker.createRouter({
	mediaCodecs: [
		{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 },
		{ kind: 'video', mimeType: 'video/VP8', clockRate: 90000 },
	],
});
const webRtcServer = await worker.createWebRtcServer({ listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] });

const transports = new Map();
const producers = new Map();
const dataProducers = new Map();
const consumers = new Map();
const peers = new Map(); // name → { events, wake }

function peer(name) {
	if (!peers.has(name)) peers.set(name, { events: [], wake: () => {} });
	return peers.get(name);
}

function tell(name, event) {
	peer(name).events.push(event);
	peer(name).wake();
}

const calls = {
	capabilities: () => router.rtpCapabilities,

	async transport({ peer: name }) {
		const t = await router.createWebRtcTransport({ webRtcServer, enableSctp: true, appData: { peer: name } });
		transports.set(t.id, t);
		t.observer.once('close', () => transports.delete(t.id));
		return {
			id: t.id, iceParameters: t.iceParameters, iceCandidates: t.iceCandidates,
			dtlsParameters: t.dtlsParameters, sctpParameters: t.sctpParameters,
		};
	},

	connect: ({ transportId, dtlsParameters }) => transports.get(transportId).connect({ dtlsParameters }),

	restart: ({ transportId }) => transports.get(transportId).restartIce(),

	// names returns the ICE names that somebody may still use.
	async names() {
		const { localIceUsernameFragments } = await webRtcServer.dump();
		return localIceUsernameFragments.map((n) => n.localIceUsernameFragment);
	},

	state: ({ transportId }) => {
		const { iceState, dtlsState, sctpState } = transports.get(transportId);
		return { iceState, dtlsState, sctpState };
	},

	async produce({ transportId, kind, rtpParameters }) {
		const p = await transports.get(transportId).produce({ kind, rtpParameters });
		producers.set(p.id, p);
		p.observer.once('close', () => producers.delete(p.id));
		return { id: p.id };
	},

	async producedata({ transportId, sctpStreamParameters, label, protocol }) {
		const p = await transports.get(transportId).produceData({ sctpStreamParameters, label, protocol });
		dataProducers.set(p.id, p);
		p.observer.once('close', () => dataProducers.delete(p.id));
		return { id: p.id };
	},

	// consume answers with a paused consumer, which resume sets going.
	async consume({ transportId, producerId, rtpCapabilities }) {
		const t = transports.get(transportId);
		const c = await t.consume({ producerId, rtpCapabilities, paused: true });
		consumers.set(c.id, c);
		c.observer.once('close', () => consumers.delete(c.id));
		c.on('producerclose', () => tell(t.appData.peer, { closed: c.id }));
		return { id: c.id, producerId, kind: c.kind, rtpParameters: c.rtpParameters };
	},

	resume: ({ consumerId }) => consumers.get(consumerId).resume(),

	async consumedata({ transportId, dataProducerId }) {
		const t = transports.get(transportId);
		const c = await t.consumeData({ dataProducerId });
		c.on('dataproducerclose', () => tell(t.appData.peer, { closed: c.id }));
		return { id: c.id, dataProducerId, sctpStreamParameters: c.sctpStreamParameters, label: c.label, protocol: c.protocol };
	},

	closeproducer: ({ producerId }) => producers.get(producerId).close(),

	// leave closes all that a peer has.
	leave({ peer: name }) {
		for (const t of [...transports.values()]) if (t.appData.peer === name) t.close();
	},

	// next returns the events of a peer, at least one.
	async next({ peer: name }) {
		const p = peer(name);
		while (p.events.length === 0) await new Promise((resolve) => { p.wake = resolve; });
		return p.events.splice(0);
	},

	// quit ends the worker; nothing keeps the application then.
	async quit() {
		worker.close();
		if (!worker.subprocessClosed) await new Promise((resolve) => worker.once('subprocessclose', resolve));
		server.close();
	},
};

const server = http.createServer(async (request, response) => {
	try {
		let body = '';
		for await (const chunk of request) body += chunk;
		const result = await calls[request.url.slice(1)](JSON.parse(body || '{}'));
		response.setHeader('Connection', 'close');
		response.end(JSON.stringify(result ?? null));
	} catch (error) {
		response.writeHead(500).end(`${error.stack}`);
	}
});
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
