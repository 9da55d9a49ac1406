// What a receiver sees and hears.

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// watch samples the picture of a video element for some time. It returns how
// many samples and how many different ones there were, in how many the upper
// left quarter had the colour of Picture, how many frames were shown, and by
// how many milliseconds the machine let the page wait at most.
export async function watch(video, milliseconds) {
	const canvas = new OffscreenCanvas(64, 48);
	const context = canvas.getContext('2d', { willReadFrequently: true });
	const shown = () => {
		const q = video.getVideoPlaybackQuality();
		return q.totalVideoFrames - q.droppedVideoFrames;
	};
	const seen = new Set();
	const begin = performance.now();
	const before = shown();
	let samples = 0;
	let known = 0;
	let late = 0;
	while (performance.now() - begin < milliseconds) {
		const asleep = performance.now();
		await sleep(200);
		late = Math.max(late, performance.now() - asleep - 200);
		if (!video.videoWidth) continue;
		context.drawImage(video, 0, 0, 64, 48);
		const { data } = context.getImageData(0, 0, 64, 48);
		let hash = 0x811c9dc5;
		for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
		seen.add(hash);
		samples++;
		const at = 4 * (12 * 64 + 16);
		const [r, g, b] = data.slice(at, at + 3);
		if (r > 140 && g < 90 && b < 90) known++;
	}
	const seconds = (performance.now() - begin) / 1000;
	return { late, samples, different: seen.size, known, fps: (shown() - before) / seconds, width: video.videoWidth, height: video.videoHeight };
}

// loudest listens to a track for a second.
export async function loudest(track) {
	const context = new AudioContext();
	const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
	context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
	await context.resume();
	await sleep(1000);
	const bins = new Float32Array(analyser.frequencyBinCount);
	analyser.getFloatFrequencyData(bins);
	let best = 1;
	for (let i = 1; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
	await context.close();
	return { frequency: best * context.sampleRate / analyser.fftSize, decibels: bins[best] };
}

// Recorder notes every 100 ms what a consumer has decoded, and how late the
// machine let it do so.
export class Recorder {
	constructor(consumer) {
		this.moments = [];
		let due = performance.now() + 100;
		this.timer = setInterval(async () => {
			const late = performance.now() - due;
			due = performance.now() + 100;
			for (const r of (await consumer.getStats()).values()) {
				if (r.type !== 'inbound-rtp') continue;
				this.moments.push({ at: r.timestamp, late, frames: r.framesDecoded, height: r.frameHeight, bytes: r.bytesReceived });
			}
		}, 100);
	}

	stop() {
		clearInterval(this.timer);
		return this.moments;
	}
}
