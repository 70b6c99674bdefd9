// Sound: several voices of a call, in step and without a seam. A part of timeline.js.

const AHEAD = 5; // seconds that are scheduled
const KEPT = 12; // pieces of sound that are kept, those used last: 5 MB
const NEAR = 2; // so many pieces on either side of where it plays are kept beyond that
const FADE = 0.004;

// Plays voices (a choice of a side each) in step. All that may be switched to at once is scheduled,
// and only gains are moved, so the position stays. Time runs through segments: from a place in
// the call, at a moment of the audio clock, up to another place; a loop is one after another.
class Sound {
  constructor(kernel, { rate, chunk, duration, onchange, onerror }) {
    Object.assign(this, { kernel, rate, chunk, duration, onchange, onerror });
    this.position = 0;
    this.playing = false; // what the person wants
    this.segment = null; // null while nothing sounds yet
    this.turn = 0;
    this.speed = 1;
    this.loop = null;
    this.matched = false;
    this.choices = {}; // side -> { voice, muted }
    this.standby = []; // voices that are to be ready as well
    this.sounding = {}; // side -> key
    this.voices = new Map();
    this.pieces = new Map();
    this.gains = new Map();
  }

  static key = (voice) => `${voice.side}|${voice.name}|${voice.revision}`;

  open() {
    if (this.context) return;
    // At another rate Chromium would draw straight lines between samples: images, 9 dB down.
    this.context = new AudioContext({ sampleRate: this.rate });
    this.meter = this.context.createAnalyser();
    this.meter.fftSize = 2048;
    this.meter.connect(this.context.destination);
    this.heard = new Float32Array(this.meter.fftSize);
  }

  level() { // RMS of the last moment, 1 = full scale
    if (!this.segment) return 0;
    this.meter.getFloatTimeDomainData(this.heard);
    return Math.sqrt(this.heard.reduce((sum, x) => sum + x * x, 0) / this.heard.length);
  }

  now() {
    if (!this.segment) return this.position;
    const at = this.context.currentTime;
    while (this.segment.next && this.segment.next.at <= at) this.segment = this.segment.next;
    const { from, to, at: began } = this.segment;
    return Math.min(to, this.duration, from + Math.max(0, at - began) * this.speed);
  }

  async play(position) {
    this.open();
    this.halt();
    const turn = ++this.turn;
    const [start, end] = this.loop ?? [0, this.duration];
    const inside = position >= start && position < end - 0.01;
    this.position = inside ? clamp(position, 0, this.duration) : start;
    this.playing = true;
    this.onchange();
    try {
      await this.context.resume();
      const first = Math.floor(this.position / this.chunk);
      const wanted = Object.values(this.choices).map(({ voice }) => this.fetch(voice, first));
      await Promise.all(wanted);
    } catch (error) {
      if (turn === this.turn) this.pause();
      this.onerror(error);
      return;
    }
    if (turn !== this.turn) return;
    const at = this.frame(this.context.currentTime + 0.02);
    this.position = this.frame(this.position / this.speed) * this.speed;
    this.segment = { at, from: this.position, to: this.loop ? end : Infinity, next: null };
    this.timer = setInterval(() => this.pump(), 200);
    this.refresh();
    this.onchange();
  }

  pause() {
    this.position = this.now();
    this.turn++;
    this.halt();
    this.playing = false;
    this.onchange();
  }

  halt() {
    clearInterval(this.timer);
    this.segment = null;
    for (const voice of this.voices.values()) this.drop(voice);
    this.voices.clear();
    this.sounding = {};
  }

  drop(voice) {
    voice.dropped = true;
    voice.gain.gain.setTargetAtTime(0, this.context.currentTime, FADE);
    const end = this.context.currentTime + 10 * FADE;
    for (const source of voice.sources) source.stop(end);
  }

  frame(seconds) { // up to the next frame: between two, Chromium would interpolate
    return Math.ceil(seconds * this.rate - 1e-6) / this.rate;
  }

  // What is wanted has changed: start what is missing, let go what is not wanted.
  refresh() {
    if (!this.segment) return;
    const wanted = new Map();
    for (const { voice } of Object.values(this.choices)) wanted.set(Sound.key(voice), voice);
    for (const voice of this.standby) wanted.set(Sound.key(voice), voice);
    for (const [key, voice] of wanted) {
      if (this.voices.has(key)) continue;
      const gain = this.context.createGain();
      gain.gain.value = 0;
      gain.connect(this.meter);
      const place = this.frame(this.now() / this.speed) * this.speed;
      this.voices.set(key, {
        ...voice, key, gain, segment: this.segment, place, sources: new Set(), ready: false,
      });
    }
    this.wanted = wanted;
    this.balance();
    this.pump();
  }

  balance() {
    if (!this.segment) return;
    for (const [side, { voice }] of Object.entries(this.choices)) {
      const key = Sound.key(voice);
      if (this.voices.get(key)?.ready) this.sounding[side] = key; // until then the old one goes on
    }
    for (const [key, voice] of this.voices) {
      const on = this.sounding[voice.side] === key && !this.choices[voice.side].muted;
      const gain = on ? 10 ** ((this.matched ? this.gains.get(key) ?? 0 : 0) / 20) : 0;
      voice.gain.gain.setTargetAtTime(gain, this.context.currentTime, FADE);
      if (!this.wanted.has(key) && this.sounding[voice.side] !== key) {
        this.drop(voice);
        this.voices.delete(key);
      }
    }
  }

  pump() {
    if (!this.segment) return;
    if (!this.loop && this.now() >= this.duration - 1e-3 && !this.live) {
      this.pause();
      return;
    }
    for (const voice of this.voices.values()) this.feed(voice);
  }

  async feed(voice) {
    if (voice.busy) return;
    voice.busy = true;
    try {
      while (!voice.dropped) {
        const { at: began, from, to } = voice.segment;
        const at = began + (voice.place - from) / this.speed;
        if (at > this.context.currentTime + AHEAD) break;
        const end = Math.min(to, this.duration);
        if (voice.place >= end - 1e-6) {
          if (to === Infinity) break;
          const next = { at: began + (to - from) / this.speed, from: this.loop[0], to, next: null };
          voice.segment = voice.segment.next ??= next;
          voice.place = voice.segment.from;
          continue;
        }
        const index = Math.floor(voice.place / this.chunk + 1e-9);
        const buffer = await this.fetch(voice, index);
        if (voice.dropped) break;
        const first = index * this.chunk;
        const held = buffer ? first + buffer.duration * this.speed : first;
        const until = Math.min(end, held);
        if (until <= voice.place + 1e-6) break; // a live call: there is no more yet
        this.place(voice, buffer, at, (voice.place - first) / this.speed, (until - voice.place) / this.speed);
        voice.place = until;
        if (!voice.ready) {
          voice.ready = true;
          this.balance();
        }
      }
    } catch (error) {
      this.onerror(error);
    } finally {
      voice.busy = false;
    }
  }

  place(voice, buffer, at, offset, length) {
    const late = Math.max(0, this.frame(this.context.currentTime + 0.005 - at));
    if (late >= length) return;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(voice.gain);
    source.start(at + late, offset + late, length - late);
    voice.sources.add(source);
    source.onended = () => voice.sources.delete(source);
  }

  fetch(voice, index) {
    const key = `${Sound.key(voice)}|${this.speed}|${index}`;
    let piece = this.pieces.get(key);
    this.pieces.delete(key);
    piece ??= this.load(voice, index).catch((error) => {
      this.pieces.delete(key);
      throw error;
    });
    this.pieces.set(key, piece);
    this.release();
    return piece;
  }

  release() { // the longest unused first
    const here = Math.floor(this.now() / this.chunk);
    for (const key of this.pieces.keys()) {
      if (this.pieces.size <= KEPT) break;
      if (Math.abs(+key.slice(key.lastIndexOf("|") + 1) - here) > NEAR) this.pieces.delete(key);
    }
  }

  async load({ side, name, revision }, index) {
    const question = { side, choice: name, chunk: index, speed: this.speed };
    const { reply, buffers: [bytes] } = await this.kernel.ask("sound", question);
    this.gains.set(Sound.key({ side, name, revision }), reply.gain_db);
    const count = bytes.byteLength / 2;
    if (!count) return null;
    const buffer = this.context.createBuffer(1, count, this.rate);
    const samples = buffer.getChannelData(0);
    const pcm = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < count; i++) samples[i] = pcm.getInt16(2 * i, true) / 32768;
    return buffer;
  }

  // Change how it plays and go on from where it is.
  set(changes) {
    const place = this.now();
    const again = this.playing;
    Object.assign(this, changes);
    this.position = place;
    if (again) this.play(place);
  }

  grow(duration, live) {
    const changed = Math.floor((Math.min(duration, this.duration) - 0.2) / this.chunk);
    if (duration !== this.duration) {
      for (const key of this.pieces.keys()) {
        if (+key.slice(key.lastIndexOf("|") + 1) >= changed) this.pieces.delete(key);
      }
    }
    const waiting = this.segment && this.now() >= this.duration - 0.05;
    const place = this.now();
    this.duration = duration;
    this.live = live;
    if (waiting && !this.loop) this.play(place);
    else this.refresh();
  }

  close() {
    this.turn++;
    if (this.context) {
      this.halt();
      this.context.close();
    }
    this.pieces.clear();
  }
}
