// The picture: everything that is on the canvas. A part of timeline.js.

const GUTTER = 62, OVERVIEW = 34, EVENTS = 19, FINDINGS = 19, LANES = 2, ANSWERS = 17, WAVE = 60, SPECTRUM = 92;
const GAP = 6, AXIS = 20;
const THIN = 8; // pixels that one of many events has to itself
const TOP = OVERVIEW + 4 + EVENTS + LANES * FINDINGS + ANSWERS + GAP; // where the tracks begin
const TRACK = WAVE + SPECTRUM + GAP;

// matplotlib's magma at every sixteenth
const MAGMA = [
  0x000004, 0x0a0822, 0x1d1147, 0x36106b, 0x51127c, 0x6a1c81, 0x832681, 0x9c2e7f, 0xb73779,
  0xd0416f, 0xe75263, 0xf56b5c, 0xfc8961, 0xfea772, 0xfec488, 0xfde2a3, 0xfcfdbf,
];
const COLOURS = Uint32Array.from({ length: 256 }, (_, i) => {
  const low = Math.min(15, i >> 4), part = i / 16 - low;
  const mix = (shift) => {
    const [a, b] = [MAGMA[low], MAGMA[low + 1]].map((colour) => (colour >> shift) & 255);
    return Math.round(a + (b - a) * Math.min(1, part));
  };
  return ((255 << 24) | (mix(0) << 16) | (mix(8) << 8) | mix(16)) >>> 0;
});

function spectrumImage(bytes, columns, rows, before) { // paints over what was shown before
  const alike = before?.width === columns && before.height === rows;
  const canvas = alike ? before : new OffscreenCanvas(columns, rows);
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = COLOURS[bytes[i]];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const unsigned = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const signed = (view) => new Int8Array(view.buffer, view.byteOffset, view.byteLength);

class Picture {
  constructor(root, sides) {
    this.root = root;
    this.sides = sides;
    this.canvas = make("canvas", "canvas");
    this.canvas.setAttribute("aria-hidden", "true"); // the list of events says it in words
    this.ink = this.canvas.getContext("2d");
    this.height = TOP + sides.length * TRACK + AXIS;
    this.canvas.style.height = `${this.height}px`;
    this.width = 0;
    this.view = [0, 1];
    this.duration = 1;
    this.axis = [0, 1];
    this.tiles = null; // what the kernel drew last, perhaps of another view
    this.all = null; // the whole call, coarse, behind what was drawn last
    this.whole = null; // envelopes of the whole call
    this.marks = [];
    this.placed = []; // marks and where they were drawn
    this.selection = [];
    this.shown = null; // the mark that was jumped to
    this.hidden = ""; // said in place of the bot's spectrogram
    this.captions = null; // who draws what is said
  }

  resize(width) {
    const scale = window.devicePixelRatio || 1;
    this.width = width;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(this.height * scale);
    this.ink.setTransform(scale, 0, 0, scale, 0, 0);
    this.draw();
  }

  get columns() { return Math.max(50, this.width - GUTTER); }
  x(time) { return GUTTER + ((time - this.view[0]) / (this.view[1] - this.view[0])) * this.columns; }

  place(time) { // in the strip of all that there is
    const [low, high] = this.axis;
    return GUTTER + ((time - low) / (high - low)) * this.columns;
  }

  time(x) { return this.view[0] + ((x - GUTTER) / this.columns) * (this.view[1] - this.view[0]); }
  colour(name) { return this.styles.getPropertyValue(`--wb-tl-${name}`).trim(); }

  redraw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  draw() {
    if (!this.width) return;
    const { ink, width, height } = this;
    this.styles = getComputedStyle(this.root);
    ink.clearRect(0, 0, width, height);
    ink.font = "11px system-ui, sans-serif";
    ink.textBaseline = "middle";
    this.drawOverview();
    this.sides.forEach((side, row) => this.drawTrack(side, row));
    this.drawOutside();
    this.drawSelection();
    this.drawMarks();
    this.drawAxis();
  }

  label(text, y, colour = "quiet", align = "right", x = GUTTER - 6) {
    this.ink.fillStyle = this.colour(colour);
    this.ink.textAlign = align;
    this.ink.fillText(text, x, y);
    this.ink.textAlign = "left";
  }

  field(y, height) {
    this.ink.fillStyle = this.colour("field");
    this.ink.fillRect(GUTTER, y, this.columns, height);
  }

  // An envelope of [start, end) into the box, as a filled outline: connected at any zoom.
  envelope(values, start, end, y, height, colour) {
    const { ink } = this;
    const columns = values.length / 2;
    const left = this.x(start), step = (this.x(end) - left) / columns;
    const first = clamp(Math.floor((GUTTER - left) / step) - 1, 0, columns);
    const last = clamp(Math.ceil((this.width - left) / step) + 1, 0, columns);
    const middle = y + height / 2, unit = (height / 2 - 1) / 127;
    ink.save();
    ink.beginPath();
    ink.rect(GUTTER, y, this.columns, height);
    ink.clip();
    ink.beginPath();
    for (let i = first; i < last; i++) ink.lineTo(left + (i + 0.5) * step, middle - values[2 * i + 1] * unit);
    for (let i = last - 1; i >= first; i--) ink.lineTo(left + (i + 0.5) * step, middle - values[2 * i] * unit);
    ink.closePath();
    ink.fillStyle = ink.strokeStyle = this.colour(colour);
    ink.lineWidth = 0.8;
    ink.fill();
    ink.stroke();
    ink.restore();
  }

  drawOverview() {
    const { ink, view } = this;
    this.label("call", OVERVIEW / 2);
    this.field(0, OVERVIEW);
    const [start, end] = view;
    if (this.whole) {
      this.view = this.axis;
      this.sides.forEach((side, row) => {
        ink.globalAlpha = 0.8;
        this.envelope(this.whole.envelopes[row], 0, this.whole.duration, 0, OVERVIEW, side);
        ink.globalAlpha = 1;
      });
      this.view = view;
    }
    for (const mark of this.marks) {
      if (mark.row !== "finding" || mark.severity === "info") continue;
      ink.fillStyle = this.colour(mark.severity);
      for (const [time] of mark.parts) ink.fillRect(this.place(time) - 1, OVERVIEW - 5, 2, 5);
    }
    const left = this.place(start), right = this.place(end);
    ink.strokeStyle = this.colour("accent");
    ink.lineWidth = 2;
    ink.strokeRect(left + 1, 1, Math.max(4, right - left - 2), OVERVIEW - 2);
  }

  drawTrack(side, row) {
    const { ink, tiles, all } = this;
    const y = TOP + row * TRACK;
    this.field(y, WAVE);
    ink.fillStyle = "#000";
    ink.fillRect(GUTTER, y + WAVE, this.columns, SPECTRUM);
    const tile = tiles?.tracks[row];
    if (tile) {
      if (all && this.isBeyond(tiles)) {
        this.wave(all.tracks[row], all, y, side, tiles);
        this.spectrum(all.tracks[row].image, all, y + WAVE);
      }
      this.wave(tile, tiles, y, side);
      this.spectrum(tile.image, tiles, y + WAVE);
      this.scale(y + WAVE, tile.dbov);
      this.label(`±${+tile.full_scale.toPrecision(2)}`, y + 8);
      this.label(`${tile.top_hz / 1000} kHz`, y + WAVE + 8);
      this.label(`${tile.top_hz / 2000}`, y + WAVE + SPECTRUM / 2);
    } else if (this.whole) {
      this.envelope(this.whole.envelopes[row], 0, this.whole.duration, y, WAVE, side);
    }
    ink.font = "600 11px system-ui, sans-serif";
    this.label(side, y + WAVE / 2, side);
    ink.font = "11px system-ui, sans-serif";
    this.label("0", y + WAVE + SPECTRUM - 7);
    if (!(side === "bot" && this.hidden)) this.captions?.draw(this, side, y + WAVE);
    if (side === "bot" && this.hidden) {
      ink.fillStyle = "#fff";
      ink.fillText(this.hidden, GUTTER + 8, y + WAVE + 12);
    }
  }

  isBeyond({ start, end }) { return this.view[0] < start || this.view[1] > end; }

  // Peaks, and in them the RMS; `without` what is drawn in its own place.
  wave({ envelope, rms }, { start, end }, y, side, without) {
    const { ink } = this;
    ink.save();
    if (without) {
      const left = this.x(without.start), right = this.x(without.end);
      ink.beginPath();
      ink.rect(GUTTER, y, left - GUTTER, WAVE);
      ink.rect(right, y, this.width - right, WAVE);
      ink.clip();
    }
    const inner = new Int8Array(2 * rms.length);
    for (let i = 0; i < rms.length; i++) [inner[2 * i], inner[2 * i + 1]] = [-rms[i], rms[i]];
    ink.globalAlpha = rms.length ? 0.55 : 1;
    this.envelope(envelope, start, end, y, WAVE, side);
    ink.globalAlpha = 1;
    if (rms.length) this.envelope(inner, start, end, y, WAVE, side);
    ink.restore();
  }

  scale(y, [low, high]) { // what a colour stands for
    const { ink } = this;
    for (let i = 0; i < SPECTRUM; i++) {
      const [r, g, b] = [0, 8, 16].map((shift) => (COLOURS[255 - Math.round((i / SPECTRUM) * 255)] >> shift) & 255);
      ink.fillStyle = `rgb(${r}, ${g}, ${b})`;
      ink.fillRect(1, y + i, 6, 1);
    }
    ink.font = "9px system-ui, sans-serif";
    this.label(`${high} dBov`.replace("-", "−"), y + 24, "quiet", "left", 10);
    this.label(`${low}`.replace("-", "−"), y + SPECTRUM - 6, "quiet", "left", 10);
    ink.font = "11px system-ui, sans-serif";
  }

  spectrum(image, { start, end }, y) {
    const { ink } = this;
    const left = this.x(start), right = this.x(end);
    ink.save();
    ink.beginPath();
    ink.rect(GUTTER, y, this.columns, SPECTRUM);
    ink.clip();
    ink.imageSmoothingEnabled = false;
    ink.drawImage(image, left, y, right - left, SPECTRUM);
    ink.restore();
  }

  drawOutside() { // where there is no call: on an axis that is longer than it
    const { ink } = this;
    const begin = clamp(this.x(0), GUTTER, this.width), end = clamp(this.x(this.duration), GUTTER, this.width);
    ink.fillStyle = this.colour("paper");
    for (const [left, right] of [[GUTTER, begin], [end, this.width]]) {
      if (right - left >= 1) ink.fillRect(left, TOP, right - left, this.height - AXIS - TOP);
    }
  }

  drawSelection() {
    const [start, end] = this.selection;
    if (end === undefined) return;
    const { ink } = this;
    const left = clamp(this.x(start), GUTTER, this.width), right = clamp(this.x(end), GUTTER, this.width);
    if (right <= left) return;
    const top = OVERVIEW + 4, bottom = this.height - AXIS;
    ink.fillStyle = this.colour("selected");
    ink.fillRect(left, top, right - left, bottom - top);
    ink.fillStyle = this.colour("accent");
    for (const [time, x] of [[start, left], [end, right]]) {
      if (time >= this.view[0] && time <= this.view[1]) ink.fillRect(x - 0.5, top, 1.5, bottom - top);
    }
  }

  visible(row) {
    const [start, end] = this.view;
    const seen = ([from, until]) => until >= start && from <= end;
    return this.marks.filter((mark) => mark.row === row && mark.parts.some(seen));
  }

  drawMarks() {
    this.placed = [];
    const top = OVERVIEW + 4;
    this.label("events", top + EVENTS / 2);
    this.label("findings", top + EVENTS + FINDINGS / 2);
    this.label("answers", TOP - GAP - ANSWERS / 2);
    this.ink.save();
    this.ink.beginPath();
    this.ink.rect(GUTTER, 0, this.columns, this.height);
    this.ink.clip();
    this.drawUnderruns();
    this.drawEvents(top);
    this.drawNotes(top);
    this.drawFindings(top + EVENTS);
    this.drawAnswers(TOP - GAP - ANSWERS);
    this.ink.restore();
  }

  drawEvents(top) {
    const { ink } = this;
    const events = this.visible("event");
    const dense = events.length > this.columns / 14;
    const labels = []; // those of one moment are one label
    for (const { mark, more } of dense ? this.thinned(events) : events.map((each) => ({ mark: each }))) {
      const x = Math.round(this.x(mark.start));
      const colour = mark.kind === "clear" || mark.kind === "interruption" ? "turning" : "event";
      ink.fillStyle = this.colour(colour);
      ink.fillRect(x - 1, top + 1, 2, EVENTS - 3);
      this.placed.push({ mark, more, left: x - 4, right: x + 4, top, bottom: top + EVENTS });
      if (dense) continue;
      ink.globalAlpha = 0.7; // dotted through the tracks, so that the sound can be held against it
      for (let y = TOP; y < this.height - AXIS; y += 6) ink.fillRect(x - 0.5, y, 1, 3);
      ink.globalAlpha = 1;
      const last = labels.at(-1);
      if (last && x - last.x < 6) {
        last.text += last.text.endsWith(mark.kind) ? "" : `, ${mark.kind}`;
        last.end = x;
      } else labels.push({ x, end: x, text: mark.kind, colour });
    }
    let taken = GUTTER; // up to where there is something already
    labels.forEach(({ x, end, text, colour }, i) => { // behind its tick, or before it, or not at all
      const wide = ink.measureText(text).width + 4;
      const until = Math.min(labels[i + 1]?.x ?? Infinity, this.width);
      const left = end + wide < until ? end + 4 : x - wide > taken + 4 ? x - wide - 1 : null;
      if (left !== null) this.label(text, top + EVENTS / 2, colour, "left", left);
      taken = left === null ? end : Math.max(end, left + wide);
    });
  }

  drawNotes(top) { // a flag with as much of the text as it may have, over what is there
    const { ink } = this;
    for (const mark of this.visible("note")) {
      const x = Math.round(this.x(mark.start)), end = Math.round(this.x(mark.end));
      const text = mark.text.length > 24 ? `${mark.text.slice(0, 23)}…` : mark.text || "mark";
      const wide = ink.measureText(text).width + 8;
      const left = clamp(x, GUTTER, Math.max(GUTTER, this.width - wide));
      ink.fillStyle = this.colour("note");
      ink.fillRect(left, top + 1, wide, EVENTS - 4);
      ink.fillRect(x, top + EVENTS - 4, Math.max(2, end - x), 3);
      ink.fillRect(x - 0.5, top + 1, 2, EVENTS - 2);
      ink.globalAlpha = 0.8;
      for (const at of new Set([x, end])) ink.fillRect(at - 0.5, TOP, 1, this.height - AXIS - TOP);
      ink.globalAlpha = 1;
      this.label(text, top + EVENTS / 2 - 1, "on-note", "left", left + 4);
      const right = Math.max(left + wide, end);
      this.placed.push({ mark, left: Math.min(left, x), right, top, bottom: top + EVENTS });
    }
  }

  thinned(events) { // one for some pixels, and how many more it stands for; a turning before others
    const places = new Map();
    for (const mark of events) {
      const place = Math.floor(this.x(mark.start) / THIN), there = places.get(place);
      const turning = mark.kind === "clear" || mark.kind === "interruption";
      if (!there) places.set(place, { mark, more: 0, turning });
      else Object.assign(there, { more: there.more + 1 }, turning && !there.turning ? { mark, turning } : {});
    }
    return [...places.values()];
  }

  drawFindings(top) {
    const { ink } = this;
    const lanes = Array.from({ length: LANES }, () => []);
    const height = FINDINGS - 3;
    for (const mark of this.visible("finding")) {
      const bars = this.bars(mark);
      const { left } = bars[0], right = bars.at(-1).right;
      const end = Math.max(right, Math.min(this.width, Math.round(this.x(mark.end))));
      const wide = ink.measureText(mark.title).width;
      const named = bars[0].right - left > wide + 22 ? right : right + wide + 8;
      const free = (edge) => lanes.findIndex((lane) => left >= (lane.at(-1)?.[edge] ?? 0) + 2);
      const lane = free("named") >= 0 ? free("named") : free("right");
      const y = top + (lane < 0 ? LANES - 1 : lane) * FINDINGS + 1;
      if (lane >= 0) lanes[lane].push({ bars, right, named, y });
      ink.globalAlpha = lane < 0 ? 0.5 : 1;
      ink.fillStyle = this.colour(mark.severity);
      ink.beginPath();
      for (const bar of bars) ink.roundRect(bar.left, y, bar.right - bar.left, height, 3);
      ink.rect(left, y + height - 2, end - left, 2);
      ink.fill();
      ink.globalAlpha = 1;
      if (mark === this.shown) this.outline(left, y, bars[0].right - left, height);
    }
    for (const named of lanes) {
      named.forEach((each, i) => this.nameFinding(each, height, named[i + 1]?.bars[0].left ?? this.width));
    }
    this.drawShown();
  }

  drawAnswers(top) { // the wait before each, stage by stage; what took longest is named
    const { ink } = this;
    const height = ANSWERS - 3;
    for (const mark of this.visible("answer")) {
      mark.parts.forEach(([start, end], i) => {
        const left = this.x(start), right = Math.max(left + 0.5, this.x(end));
        ink.fillStyle = mark.colours[i];
        ink.fillRect(left, top + 1, right - left, height);
        const noun = mark.nouns[i], wide = ink.measureText(noun).width + 8;
        ink.fillStyle = "#000"; // on any of their colours
        if (wide < right - left) ink.fillText(noun, Math.max(left, GUTTER) + 4, top + 1 + height / 2);
      });
      const left = this.x(mark.start), right = this.x(mark.end);
      this.placed.push({ mark, left, right: Math.max(right, left + 3), top, bottom: top + ANSWERS });
      if (mark === this.shown) this.outline(left, top + 1, right - left, height);
    }
  }

  bars(mark) { // one for each part that is seen; the first has room for a shape
    const [start, end] = this.view;
    const seen = mark.parts.filter(([from, until]) => until >= start && from <= end);
    return seen.map((part, i) => {
      const left = Math.max(GUTTER, Math.round(this.x(part[0]))), least = left + (i ? 3 : 16);
      const right = Math.max(least, Math.min(this.width, Math.round(this.x(part[1]))));
      // One about it all is a line.
      return { mark, part, left, right: right - left > this.columns * 0.6 ? least : right };
    });
  }

  nameFinding({ bars, right, y }, height, until) { // a shape, and a word where there is room
    const { ink } = this;
    const { mark, left, right: first } = bars[0];
    const middle = y + height / 2 + 0.5;
    ink.font = "10px system-ui, sans-serif";
    this.label(mark.shape, middle, `on-${mark.severity}`, "left", left + 4);
    ink.font = "11px system-ui, sans-serif";
    const wide = ink.measureText(mark.title).width;
    const inside = first - left > wide + 22;
    if (inside) this.label(mark.title, middle, `on-${mark.severity}`, "left", left + 17);
    else if (right + wide + 8 < until) this.label(mark.title, middle, "ink", "left", right + 4);
    this.placed.push(...bars.map((bar) => ({ ...bar, top: y, bottom: y + height })));
  }

  outline(x, y, width, height) {
    this.ink.strokeStyle = this.colour("ink");
    this.ink.lineWidth = 2;
    this.ink.strokeRect(x, y, width, height);
  }

  drawShown() { // brackets the parts of what was jumped to in the tracks of its side
    const mark = this.shown;
    if (!mark || mark.end < this.view[0] || mark.start > this.view[1]) return;
    const { ink } = this;
    ink.strokeStyle = this.colour(mark.severity ?? "event");
    ink.lineWidth = 2;
    ink.setLineDash([5, 3]);
    this.sides.forEach((side, row) => {
      if (mark.side && mark.side !== side) return;
      const y = TOP + row * TRACK;
      for (const [start, end] of mark.parts) {
        const left = this.x(start), right = Math.max(left + 2, this.x(end));
        ink.strokeRect(left, y + 1, right - left, TRACK - GAP - 2);
      }
    });
    ink.setLineDash([]);
  }

  drawUnderruns() { // hatched, in the bot's waveform: what the caller heard a hole in
    const { ink } = this;
    const row = this.sides.indexOf("bot"), y = TOP + row * TRACK;
    for (const mark of this.visible("underrun")) {
      const left = this.x(mark.start), right = Math.max(left + 3, this.x(mark.end));
      ink.save();
      ink.beginPath();
      ink.rect(left, y, right - left, WAVE);
      ink.clip();
      ink.fillStyle = this.colour("error");
      ink.globalAlpha = 0.25;
      ink.fillRect(left, y, right - left, WAVE);
      ink.globalAlpha = 0.9;
      ink.strokeStyle = this.colour("error");
      ink.lineWidth = 1;
      ink.beginPath();
      for (let x = left - WAVE; x < right; x += 6) {
        ink.moveTo(x, y + WAVE);
        ink.lineTo(x + WAVE, y);
      }
      ink.stroke();
      ink.restore();
      this.placed.push({ mark, left: left - 2, right: right + 2, top: y, bottom: y + WAVE });
      const wide = ink.measureText("underrun").width;
      if (right - left > wide + 8) this.label("underrun", y + 8, "error", "left", left + 4);
    }
  }

  drawAxis() {
    const { ink } = this;
    const [start, end] = this.view;
    const least = ((end - start) * 80) / this.columns;
    const steps = [
      0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600,
      1800, 3600,
    ];
    const step = steps.find((candidate) => candidate >= least) ?? 7200;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const y = this.height - AXIS;
    for (let i = Math.max(0, Math.ceil(start / step - 1e-9)); i * step <= Math.min(end, this.duration); i++) {
      const x = this.x(i * step);
      ink.fillStyle = this.colour("quiet");
      ink.fillRect(Math.round(x), y, 1, 5);
      const text = clock(i * step, digits), half = ink.measureText(text).width / 2;
      ink.fillText(text, clamp(x - half, GUTTER, this.width - 2 * half), y + 12);
    }
    this.label("time", y + 12);
  }

  at(x, y) { // the mark there and which part of it, the last drawn first
    const there = this.placed.filter((m) => x >= m.left && x <= m.right && y >= m.top && y <= m.bottom);
    return there.at(-1);
  }

  row(y) { return Math.floor((y - TOP) / TRACK); }

  frequency(y) { // under the pointer: [side, hertz], if there is a spectrogram
    const row = this.row(y), tile = this.tiles?.tracks[row];
    const down = y - TOP - row * TRACK - WAVE;
    if (!tile || down < 0 || down > SPECTRUM) return null;
    return [this.sides[row], Math.round((1 - down / SPECTRUM) * tile.top_hz)];
  }

  close() { cancelAnimationFrame(this.pending); }
}
