// Sources of media that are the same everywhere: no camera, no microphone.

// Picture is a canvas in which everything moves. Its upper left quarter has
// one colour, by which a receiver knows it. A busy one has so much detail that
// an encoder uses all the bits that it gets.
export class Picture {
	constructor(width, height, frameRate, busy) {
		this.busy = busy;
		this.canvas = document.createElement('canvas');
		this.canvas.width = width;
		this.canvas.height = height;
		this.context = this.canvas.getContext('2d');
		this.frame = 0;
		this.interval = 1000 / frameRate;
		this.late = 0; // ms that a frame was late at most
		document.body.append(this.canvas);
		this.draw();
		// A timer and not requestAnimationFrame, which a hidden page lacks.
		setInterval(() => this.draw(), this.interval);
		this.track = this.canvas.captureStream(frameRate).getVideoTracks()[0];
	}

	draw() {
		const { canvas: { width, height }, context } = this;
		const n = this.frame++;
		const now = performance.now();
		if (n > 0) this.late = Math.max(this.late, now - this.drawn - this.interval);
		this.drawn = now;
		context.fillStyle = '#204060';
		context.fillRect(0, 0, width, height);
		for (let i = 0; i < 12; i++) {
			context.fillStyle = `hsl(${(n * 3 + i * 30) % 360} 80% 50%)`;
			const x = (n * (2 + i) + i * 97) % width;
			const y = (n * (1 + i % 5) + i * 53) % height;
			context.fillRect(x, y, width / 8, height / 8);
		}
		for (let i = 0; this.busy && i < 200; i++) {
			context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
			context.fillRect(Math.random() * width, Math.random() * height, width / 40, height / 40);
		}
		context.fillStyle = '#fff';
		context.font = `${height / 6}px monospace`;
		context.fillText(String(n), width / 2, height - 10);
		context.fillStyle = '#c02020';
		context.fillRect(0, 0, width / 2, height / 2);
	}
}

// Tone is a sine.
export class Tone {
	constructor(frequency) {
		this.context = new AudioContext();
		this.oscillator = new OscillatorNode(this.context, { frequency });
		const destination = this.context.createMediaStreamDestination();
		this.gain = new GainNode(this.context, { gain: 0.5 });
		this.oscillator.connect(this.gain).connect(destination);
		this.oscillator.start();
		this.track = destination.stream.getAudioTracks()[0];
	}
}
