// The live view: sends sound, shows frames when their sound is heard. Messages: vasa/app/live.py.
(() => {
  const RATE = 16000, FRAME_S = 0.04, BUFFER_S = 0.12, SAMPLES = 640, HEADER = 8;
  let talk = null; // everything of a running talk
  const one = (name) => document.getElementById("live-" + name);
  const number = (name, text) => { document.querySelector(`[data-number="${name}"]`).textContent = text; };

  function state(kind, text) { const badge = one("state"); badge.dataset.state = kind; badge.textContent = text; }
  function fail(text) { const box = one("error"); box.textContent = text; box.hidden = !text; }
  function enable(running) {
    one("start").disabled = running; one("stop").disabled = !running;
    for (const name of ["mic", "say", "file", "interrupt"]) one(name).disabled = !running || !talk?.ready;
  }

  async function start() {
    fail("");
    const secret = document.getElementById("live-token");
    if (!secret) return fail("The page is still loading; try again in a moment.");
    const sound = new AudioContext({ sampleRate: RATE });
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live?visit=${secret.dataset.token}`);
    socket.binaryType = "arraybuffer";
    talk = { sound, socket, frames: [], next: 0, gathered: 0, shown: 0, since: performance.now(), ready: false };
    const own = talk;
    own.loud = sound.createGain(); own.loud.connect(sound.destination);
    own.loud.gain.value = one("hear").checked ? 1 : 0;
    socket.onopen = () => socket.send(JSON.stringify({ start: asked() }));
    socket.onmessage = (message) => typeof message.data === "string" ? told(own, JSON.parse(message.data)) : frame(own, message.data);
    socket.onclose = (event) => { if (event.code === 1008) fail("This visit has ended; load the page again."); end(own); };
    state("busy", "connecting"); enable(true);
    await sound.resume();
    requestAnimationFrame(() => draw(own));
  }

  function told(own, said) {
    if (said.error) fail(said.error);
    if (said.state === "waiting") state("busy", `busy: number ${said.ahead} in the queue`);
    if (said.state === "loading") state("busy", "preparing the portrait");
    if (said.state === "talking") {
      own.ready = true; own.gathered = said.gathered_ms; state("on", "live"); enable(true);
    }
    if (said.statistics) numbers(own, said.statistics);
  }

  function numbers(own, found) {
    const ms = (value) => value === undefined ? "-" : `${Math.round(value)} ms`;
    const ahead = Math.max(0, own.next - own.sound.currentTime) * 1000;
    number("delay", `about ${ms(own.gathered + found.total_p50_ms + ahead)}`);
    number("made", `${ms(found.total_p50_ms)} / ${ms(found.total_p99_ms)}`);
    number("first", ms(found.first_frame_ms));
    number("drops", `${found.drops} of ${found.frames} frames`);
    number("factor", `${Math.round(100 * found.real_time_factor)} %`);
    const now = performance.now();
    number("fps", (1000 * own.shown / (now - own.since)).toFixed(1)); own.shown = 0; own.since = now;
  }

  function frame(own, data) {
    const now = own.sound.currentTime, late = new DataView(data).getUint8(4);
    if (own.next < now + 0.01 || own.next > now + 0.6) own.next = now + BUFFER_S;
    const samples = new Int16Array(data, HEADER, SAMPLES);
    const buffer = own.sound.createBuffer(1, SAMPLES, RATE), channel = buffer.getChannelData(0);
    for (let i = 0; i < SAMPLES; i++) channel[i] = samples[i] / 32768;
    const source = own.sound.createBufferSource();
    source.buffer = buffer; source.connect(own.loud); source.start(own.next);
    if (!late) {
      const shown = { at: own.next, picture: null };
      own.frames.push(shown);
      createImageBitmap(new Blob([new Uint8Array(data, HEADER + 2 * SAMPLES)], { type: "image/jpeg" }))
        .then((picture) => { shown.picture = picture; });
    }
    own.next += FRAME_S;
  }

  function draw(own) {
    if (talk !== own) return;
    let due = null;
    while (own.frames.length && own.frames[0].at <= own.sound.currentTime) {
      const first = own.frames.shift();
      if (first.picture) { due?.close(); due = first.picture; own.shown += 1; }
    }
    if (due) {
      const canvas = one("canvas");
      if (canvas.width !== due.width || canvas.height !== due.height) { canvas.width = due.width; canvas.height = due.height; }
      canvas.getContext("2d").drawImage(due, 0, 0); due.close();
    }
    requestAnimationFrame(() => draw(own));
  }

  async function microphone() {
    const own = talk;
    if (own.microphone) return silence(own);
    try {
      own.microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
    } catch (error) { return fail(`The microphone cannot be used (${error.message}); allow it in the browser.`); }
    quiet(own); hear(false);
    await own.sound.audioWorklet.addModule("/own/capture.js");
    own.capture = new AudioWorkletNode(own.sound, "capture");
    own.capture.port.onmessage = (message) => send(own, message.data);
    own.sound.createMediaStreamSource(own.microphone).connect(own.capture);
    one("mic").textContent = "Microphone off";
  }

  function silence(own) {
    own.microphone?.getTracks().forEach((track) => track.stop());
    own.capture?.disconnect(); own.microphone = own.capture = null;
    one("mic").textContent = "Microphone";
  }

  async function file(input) {
    const own = talk, chosen = input.files[0];
    input.value = "";
    if (!chosen) return;
    let sound;
    try { sound = await own.sound.decodeAudioData(await chosen.arrayBuffer()); }
    catch { return fail(`${chosen.name} is no sound that the browser can read; give a WAV, MP3, M4A or Ogg file.`); }
    const most = Number(document.getElementById("live").dataset.seconds);
    if (sound.duration > most) return fail(`${chosen.name} is longer than ${most} s; cut it first.`);
    fail(""); silence(own); quiet(own); hear(true);
    const samples = new Float32Array(sound.length);
    for (let c = 0; c < sound.numberOfChannels; c++) sound.getChannelData(c).forEach((v, i) => { samples[i] += v / sound.numberOfChannels; });
    const began = performance.now(); let sent = 0;
    own.feeding = setInterval(() => { // as a microphone would
      const until = Math.min(samples.length, Math.round((performance.now() - began) / 1000 * RATE));
      if (until > sent) send(own, samples.slice(sent, sent = until));
      if (sent === samples.length) quiet(own);
    }, 20);
  }

  function quiet(own) { clearInterval(own.feeding); own.feeding = null; }
  function hear(yes) { one("hear").checked = yes; if (talk) talk.loud.gain.value = yes ? 1 : 0; }
  function send(own, samples) { if (own.socket.readyState === 1) own.socket.send(samples); }
  function ask(words) { if (talk?.socket.readyState === 1) talk.socket.send(JSON.stringify(words)); }

  function asked() {
    const values = {};
    document.querySelectorAll("#live [data-control]").forEach((given) => {
      values[given.dataset.control] = given.type === "range" ? Number(given.value) : given.value;
    });
    return values;
  }

  function end(own) {
    if (talk !== own) return;
    silence(own); quiet(own); own.socket.close(); own.sound.close(); talk = null;
    state("off", "ended"); enable(false);
  }

  document.addEventListener("click", (event) => {
    const name = event.target.closest("#live button")?.id;
    if (name === "live-start" && !talk) start();
    if (name === "live-stop") end(talk);
    if (name === "live-mic") microphone();
    if (name === "live-say") { silence(talk); quiet(talk); hear(true); ask({ say: true }); }
    if (name === "live-interrupt") { silence(talk); quiet(talk); ask({ interrupt: true }); }
  });
  document.addEventListener("input", (event) => {
    const given = event.target.closest("#live [data-control]");
    if (!given) return;
    const output = given.parentElement.querySelector("output");
    if (output) output.textContent = given.value;
    ask({ set: { [given.dataset.control]: given.type === "range" ? Number(given.value) : given.value } });
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "live-file") file(event.target);
    if (event.target.id === "live-hear") hear(event.target.checked);
  });
})();
