import { writeFileSync } from 'node:fs';

// Values stores every object and list once: { "$": n } stands for the nth.
export class Values {
	#lines = [];
	#known = new Map();

	intern(value) {
		if (value === null || typeof value !== 'object') {
			return value;
		}
		const flat = Array.isArray(value)
			? value.map(v => this.intern(v))
			: Object.fromEntries(Object.entries(value).map(([k, v]) => [k, this.intern(v)]));
		const text = JSON.stringify(flat);
		if (text.length < 24) {
			return flat;
		}
		if (!this.#known.has(text)) {
			this.#known.set(text, this.#lines.length);
			this.#lines.push(text);
		}
		return { $: this.#known.get(text) };
	}

	write(path) {
		writeFileSync(path, `[\n${this.#lines.join(',\n')}\n]\n`);
	}
}

// A GoldenFile has a line for each case: its name, the arguments, and what came
// out of the call or the class of its error.
export class GoldenFile {
	#lines = [];
	#names = new Set();

	constructor(values) {
		this.values = values;
	}

	add(name, args, { out, error }) {
		if (this.#names.has(name)) {
			throw new Error(`two cases are called ${name}`);
		}
		this.#names.add(name);
		const line = { name, in: args.map(a => (a === undefined ? null : this.values.intern(a))) };
		if (error) {
			line.error = error;
		} else {
			line.out = this.values.intern(out);
		}
		this.#lines.push(JSON.stringify(line));
	}

	write(path) {
		writeFileSync(path, `[\n${this.#lines.join(',\n')}\n]\n`);
	}
}
