// Runs mediasoup's own ortc over a fixed set of inputs and writes what it
// answers. Usage: generate.mjs <directory>. See README.md.
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { GoldenFile, Values } from './golden.mjs';
import * as inputs from './inputs.mjs';

const require = createRequire(import.meta.url);

// The nth SSRC that a case draws is n times 111111111.
let drawn = 0;
require('node:crypto').randomInt = () => 111111111 * ++drawn;

const ortc = require('mediasoup/ortc');
const mediasoup = require('mediasoup');

const directory = process.argv[2];
mkdirSync(directory, { recursive: true });
const values = new Values();
const copy = v => (v === undefined ? undefined : JSON.parse(JSON.stringify(v)));

// attempt calls f with copies of args and returns {out} or {error}.
function attempt(f, args) {
	drawn = 0;
	try {
		return { out: copy(f(...args.map(copy))) };
	} catch (error) {
		return { error: error.name };
	}
}

function write(name, cases, f) {
	const file = new GoldenFile(values);
	const results = [];
	for (const [title, ...args] of cases) {
		const result = attempt(f, args);
		file.add(title, args, result);
		results.push({ title, args, ...result });
	}
	file.write(join(directory, `${name}.json`));
	console.log(`${name}: ${cases.length} cases, ${results.filter(r => r.error).length} of them errors`);
	return results;
}

// mutating turns a function that changes its argument into one that returns it.
const mutating = f => v => {
	f(v);
	return v;
};

write('capabilities', inputs.capabilities(), mutating(ortc.validateAndNormalizeRtpCapabilities));
write('parameters', inputs.parameters(), mutating(ortc.validateAndNormalizeRtpParameters));
write('sctp', inputs.sctp(), mutating(ortc.validateAndNormalizeSctpStreamParameters));
write('scalability', inputs.scalability(), mode => mediasoup.parseScalabilityMode(mode));

const generated = write('router', inputs.router(), ortc.generateRouterRtpCapabilities);
// Only now, because the first Router normalises the static table in place.
write('supported', [['supported']], mediasoup.getSupportedRtpCapabilities);

write('h264', inputs.h264(), (router, producer) => {
	const caps = ortc.generateRouterRtpCapabilities([
		{ kind: 'video', mimeType: 'video/H264', clockRate: 90000, parameters: router },
	]);
	// The table's own level-asymmetry-allowed would hide the other case.
	caps.codecs[0].parameters = router;
	const params = {
		codecs: [{ mimeType: 'video/H264', payloadType: 96, clockRate: 90000, parameters: producer }],
		encodings: [],
	};
	ortc.getProducerRtpParametersMapping(params, caps);
	return params.codecs[0].parameters;
});

const mapped = write('mapping', inputs.mapping(generated), (params, caps) => {
	const mapping = ortc.getProducerRtpParametersMapping(params, caps);
	return { params, mapping };
});
const consumable = write('consumable', inputs.consumable(mapped), ortc.getConsumableRtpParameters);
write('canconsume', inputs.canConsume(consumable), ortc.canConsume);
write(
	'consumer',
	inputs.consumer(consumable),
	(consumableRtpParameters, remoteRtpCapabilities, pipe, enableRtx) =>
		ortc.getConsumerRtpParameters({ consumableRtpParameters, remoteRtpCapabilities, pipe, enableRtx }),
);
write('pipe', inputs.pipe(consumable), (consumableRtpParameters, enableRtx) =>
	ortc.getPipeConsumerRtpParameters({ consumableRtpParameters, enableRtx }),
);
values.write(join(directory, 'values.json'));
