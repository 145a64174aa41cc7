// Hands the microphone's samples over in blocks of 20 ms at 16 kHz.
class Capture extends AudioWorkletProcessor {
  constructor() { super(); this.block = new Float32Array(320); this.filled = 0; }
  process(inputs) {
    const samples = inputs[0][0];
    if (!samples) return true;
    for (const sample of samples) {
      this.block[this.filled++] = sample;
      if (this.filled === this.block.length) { this.port.postMessage(this.block.slice()); this.filled = 0; }
    }
    return true;
  }
}
registerProcessor("capture", Capture);
