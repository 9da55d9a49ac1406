// Plays the steps of a script through npm's mediasoup and prints what came of
// each as JSON. Run it where the package is installed:
//
//	node play.mjs STEPS.json
//
// player.go is the same for the Go API. Nothing is made equal here: ids, ports
// and times are printed as they are.
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const mediasoup = createRequire(path.resolve('x.js'))('mediasoup');
const kinds = new Set([
	'Worker', 'WebRtcServer', 'Router', 'WebRtcTransport', 'PlainTransport', 'PipeTransport', 'DirectTransport',
	'Producer', 'Consumer', 'DataProducer', 'DataConsumer', 'AudioLevelObserver', 'ActiveSpeakerObserver',
]);
const patience = 10_000; // ms that an event may take
const settle = 5; // ms in which more events than expected may come

const unheard = new Set(['newListener', 'subprocessclose']); // Node's own, and what the Go API does not have

const objects = new Map([['mediasoup', mediasoup]]); // by name in the script
const names = new Map(); // of workers, which have no id
const hooked = new Set();
let events = [];
let emitters = []; // the first argument of each event
let wake = () => {};

function kindOf(o) {
	const name = o?.constructor?.name?.replace(/Impl$/, '');
	return kinds.has(name) ? name : undefined;
}

const nameOf = o => o.id ?? names.get(o) ?? 'worker';

function emitted(on, event, args) {
	events.push({ on, event, args: args.map(plain) });
	emitters.push(args[0]);
	wake();
}

// Has every event of an object and of its observer logged, from now on.
function hook(o) {
	if (hooked.has(o))
		return;
	hooked.add(o);
	for (const [emitter, suffix] of [[o, ''], [o.observer, '.observer']])
		for (const method of ['emit', 'safeEmit']) {
			const emit = emitter[method];
			emitter[method] = function (event, ...args) {
				if (event[0] !== '@' && !unheard.has(event)) {
					for (const a of args)
						if (kindOf(a))
							hook(a);
					emitted(nameOf(o) + suffix, event, args);
				}
				return emit.call(this, event, ...args);
			};
		}
}

// What JSON can hold of a value.
function plain(v) {
	if (typeof v === 'bigint')
		return Number(v);
	if (Buffer.isBuffer(v))
		return { $bytes: v.toString('hex') };
	if (kindOf(v))
		return { $object: nameOf(v) };
	if (Array.isArray(v))
		return v.map(plain);
	if (v === null || typeof v !== 'object')
		return v;
	return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
}

// The public getters of an object.
function state(o) {
	const s = {};
	for (let p = Object.getPrototypeOf(o); p && p !== Object.prototype; p = Object.getPrototypeOf(p))
		for (const [k, d] of Object.entries(Object.getOwnPropertyDescriptors(p)))
			if (d.get && k !== 'observer' && k !== 'consumableRtpParameters' && !k.endsWith('ForTesting'))
				s[k] = plain(o[k]);
	return s;
}

// Replaces «$name» and «$name.property…» in arguments.
function resolve(v) {
	if (typeof v === 'string' && v[0] === '$') {
		const [name, ...properties] = v.slice(1).split('.');
		return properties.reduce((o, p) => o[p], objects.get(name));
	}
	if (Array.isArray(v))
		return v.map(resolve);
	if (v === null || typeof v !== 'object')
		return v;
	if ('$bytes' in v)
		return Buffer.from(v.$bytes, 'hex');
	return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, resolve(x)]));
}

// A UDP socket beside mediasoup; what RTP it gets is logged.
async function open(name) {
	const socket = dgram.createSocket('udp4');
	await new Promise(done => socket.bind(0, '127.0.0.1', done));
	socket.on('message', b => {
		if (b.length >= 12 && b[0] >> 6 === 2 && (b[1] < 192 || b[1] > 223))
			emitted(name, 'packet', [b]);
	});
	return {
		port: socket.address().port,
		close: () => { socket.close(); },
		async send(port, ...packets) {
			for (const b of packets)
				await new Promise((done, failed) => socket.send(b, port, '127.0.0.1', e => e ? failed(e) : done()));
		},
	};
}

// A name for each of the objects that a call returned.
function keep(as, result) {
	if (typeof as === 'string') {
		objects.set(as, result);
		if (kindOf(result) === 'Worker')
			names.set(result, as);
		if (!kindOf(result))
			return undefined; // a socket
		hook(result);
		return { $object: nameOf(result), state: state(result) };
	}
	return Object.fromEntries(Object.entries(as).map(([k, name]) => [k, keep(name, result[k])]));
}

async function act(step, entry) {
	const [name, method] = step.call.split('.');
	const o = objects.get(name);
	const args = resolve(step.args ?? []);
	if (method === 'get')
		return state(o);
	if (step.call === 'udp.wait')
		return new Promise(done => setTimeout(done, args[0]));
	if (name === 'udp')
		return keep(step.as, await open(step.as));
	const promise = o[method](...args);
	entry.sync = events.length;
	const result = await promise;
	if (method !== 'close')
		entry.sync = events.length;
	return step.as ? keep(step.as, result) : plain(result);
}

// The name of an object in events, «name» or «name.observer».
function placeOf(path) {
	const [name, ...rest] = path.split('.');
	const o = objects.get(name);
	return [kindOf(o) ? nameOf(o) : name, ...rest].join('.');
}

// Splits off the event of «name.event».
function split(key) {
	const at = key.lastIndexOf('.');
	return [placeOf(key.slice(0, at)), key.slice(at + 1)];
}

// Names what events of the step told of.
function find(found) {
	for (const [key, name] of Object.entries(found)) {
		const [on, event] = split(key);
		objects.set(name, emitters[events.findIndex(e => e.on === on && e.event === event)]);
	}
}

// Whether an event came so often or, if that is a string, with that value.
function came(key, wanted) {
	const [on, event] = split(key);
	const list = events.filter(e => e.on === on && e.event === event);
	return typeof wanted === 'string' ? list.some(e => e.args[0] === wanted) : list.length >= wanted;
}

// The expected events that are missing.
function missing(until) {
	return Object.entries(until).filter(([key, wanted]) => !came(key, wanted)).map(([key]) => key);
}

async function expect(until, entry) {
	const end = Date.now() + patience;
	while (missing(until).length > 0 && Date.now() < end)
		await new Promise(done => { wake = done; setTimeout(done, 100); });
	if (missing(until).length > 0)
		entry.missing = missing(until);
	await new Promise(done => setTimeout(done, settle));
}

const log = [];
mediasoup.observer.on('newworker', w => emitted('mediasoup.observer', 'newworker', [w]));
for (const step of JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))) {
	const entry = { sync: 0 };
	try {
		entry.result = await act(step, entry);
	} catch (e) {
		entry.error = e.constructor.name;
		entry.text = e.message;
	}
	await expect(step.until ?? {}, entry);
	find(step.found ?? {});
	entry.events = events;
	events = [];
	emitters = [];
	log.push(entry);
}
process.stdout.write(JSON.stringify(log), () => process.exit(0));
