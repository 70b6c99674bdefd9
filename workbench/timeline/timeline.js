// The player of a call. The kernel draws and resamples (timeline.py says what can be asked);
// this asks for what is on screen, shows it, and plays sound without a seam.
//
// Text that comes from a capture is a stranger's: it is set by textContent, never as markup.

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const KEYS = [
  ["Space", "play or pause"],
  ["← →", "one second back or on; with Shift, ten"],
  ["Home End", "beginning, end"],
  ["+ − 0 Z", "zoom in, out, to the whole call, to the selection"],
  ["N P", "next, previous finding, the worst first"],
  ["[ ] Esc", "begin and end the selection here; clear it"],
  ["L", "play the selection, or what is on screen, in a loop"],
  ["A B", "hear A, hear B; what you choose is kept in the one that is on"],
  ["1 … 9", "choose what to hear of the bot"],
  ["M", "everything at one loudness"],
  ["F", "keep the play position on screen; looking elsewhere while it plays ends that"],
  ["V", "frequencies up to 4 kHz, where the voice is, or all"],
  ["C", "write a note at the selection, or at the play position"],
  ["/", "search what was said, if the capture holds it"],
  ["?", "show this list, or hide it"],
];
const ROWS = {
  "": "all", finding: "findings", event: "events", answer: "answers", underrun: "other holes", note: "notes",
};
const NO_KERNEL = "The kernel does not answer: it is busy, or gone. Run the cell to play and to zoom.";
const ALL_COLUMNS = 600; // of the coarse picture of the whole call
const MOST_PARTS = 12; // of a finding, that are listed

class Player {
  constructor(model, element) {
    this.model = model;
    this.kernel = new Kernel(model);
    this.still = new Still(model);
    this.contents = model.get("_contents");
    this.slots = { A: model.get("bot"), B: null };
    this.slot = "A";
    this.leg = null;
    this.blind = null; // names in a shuffled order, when they are hidden
    this.following = true;
    this.voiceOnly = false;
    this.marks = [];
    this.finding = null;
    this.toGoTo = { finding: model.get("finding"), position: model.get("position") }; // once there are marks
    this.ownFinding = model.get("finding");
    this.root = make("div", "");
    this.root.className = "wb-tl";
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-label", "Call timeline");
    const { play_rate: rate, chunk_secs: chunk, duration, sides } = this.contents;
    this.sound = new Sound(this.kernel, {
      rate, chunk, duration,
      onchange: () => this.showState(),
      onerror: (error) => this.say(error.message),
    });
    this.sound.position = model.get("position");
    this.muted = Object.fromEntries(sides.map((side) => [side.name, false]));
    this.picture = new Picture(this.root, sides.map((side) => side.name));
    this.captions = this.picture.captions = new Captions(this);
    this.build();
    element.append(this.root);
    this.listen();
    this.takeContents();
    this.showState();
    this.loadMarks();
    this.still.hide();
    this.loadWords();
  }

  // -- what is there

  choices(side) { return this.contents.sides.find((each) => each.name === side).choices; }

  offered() { // on the bot's side, as things are
    const all = this.choices("bot");
    return all.filter((choice) => !choice.leg || choice.leg === this.leg);
  }

  label(choice) {
    if (this.blind?.includes(choice.name)) return `sample ${this.blind.indexOf(choice.name) + 1}`;
    return choice.setting ?? choice.name;
  }

  get compared() { return this.choices("bot").some((choice) => choice.setting); }

  takeContents() {
    this.contents = this.model.get("_contents");
    const legs = [...new Set(this.choices("bot").map((choice) => choice.leg).filter(Boolean))];
    const leg = this.choices("bot").find((choice) => choice.name === this.model.get("bot"))?.leg;
    this.leg = leg ?? (legs.includes(this.leg) ? this.leg : legs[0] ?? null);
    this.legs = legs;
    const others = this.offered().filter((choice) => choice.name !== this.slots.A);
    this.slots.B ??= (others.find((choice) => choice.setting) ?? others.at(-1))?.name;
    if (this.compared && this.matchWasSet === undefined) this.sound.matched = this.matchWasSet = true;
    this.picture.duration = this.contents.duration;
    this.picture.axis = this.reach;
    this.noting.show();
    this.takeOverview();
    this.sound.grow(this.contents.duration, this.contents.live);
    const offered = JSON.stringify([this.contents.sides, this.leg]);
    if (offered !== this.built) this.buildChoices(); // not at every step of a call that goes on
    this.built = offered;
    this.choose();
  }

  takeOverview() {
    const view = this.model.get("_overview");
    const count = this.picture.sides.length;
    if (!view?.byteLength) return;
    const all = signed(view), size = all.length / count;
    const envelopes = this.picture.sides.map((_, row) => all.slice(row * size, (row + 1) * size));
    this.picture.whole = { envelopes, duration: this.contents.duration };
  }

  async loadMarks() {
    try {
      const { reply } = await this.kernel.ask("marks");
      if (!this.closed) this.takeMarks(reply);
    } catch (error) {
      this.say(error.message);
    }
  }

  takeMarks({ marks, problem }) {
    const shown = this.finding;
    this.marks = this.picture.marks = marks;
    const again = (mark) => mark.row === shown?.row && mark.kind === shown.kind && mark.start === shown.start;
    this.finding = shown && (marks.find(again) ?? null); // of a call that goes on, there may be others
    this.picture.shown = this.finding;
    if (shown) this.setFinding(this.finding);
    this.showMarks();
    this.picture.redraw();
    if (problem) this.say(problem);
    this.goToWanted();
  }

  goToWanted() { // a finding that was asked for by its number, from outside
    const { finding, position } = this.toGoTo ?? {};
    const mark = finding && this.findings[finding - 1];
    if (!mark) return;
    this.toGoTo = null;
    this.go(mark, true);
    if (position) this.seek(position, true);
  }

  setFinding(mark) {
    this.finding = mark;
    const number = mark ? mark.rank + 1 : 0;
    if (number === this.ownFinding) return;
    this.ownFinding = number;
    this.model.set("finding", this.ownFinding);
    this.model.save_changes();
  }

  async loadWords() {
    if (!this.contents.words) return;
    try {
      const { reply } = await this.kernel.ask("words");
      if (!this.closed) this.captions.take(reply.phrases);
    } catch (error) {
      this.say(error.message);
    }
  }

  // -- building the page

  build() {
    const group = (name, ...nodes) => {
      const node = make("span", "group", ...nodes);
      node.setAttribute("role", "group");
      node.setAttribute("aria-label", name);
      return node;
    };
    this.playButton = button("▶ Play", "Play or pause (Space)", () => this.toggle());
    this.playButton.classList.add("wb-tl-play");
    const looping = "Play the selection, or what is on screen, again and again (L)";
    this.loopButton = button("⟲ Loop", looping, () => this.toggleLoop());
    const option = (speed) => new Option(`${speed}×`, speed, speed === 1, speed === 1);
    this.speed = make("select", "", ...SPEEDS.map(option));
    this.speed.setAttribute("aria-label", "Speed, at the same pitch");
    this.speed.title = "Speed, at the same pitch";
    this.speed.addEventListener("change", () => this.sound.set({ speed: +this.speed.value }));
    this.time = make("span", "time");
    this.meter = make("span", "meter", make("span", "level"));
    this.meter.title = "Level of what you hear, -60 to 0 dBov";
    this.meter.setAttribute("aria-hidden", "true");
    this.nextButton = button("Next finding", "Go to the next finding (N)", () => this.nextFinding(1));
    this.noting = new Noting(this);
    this.followButton = button("Follow", "Keep the play position on screen (F)", () => this.toggleFollow());
    const keys = make("dl", "keys", ...KEYS.flatMap(([key, what]) => [make("dt", "", key), make("dd", "", what)]));
    this.keyList = make("details", "help", make("summary", "", "Keys (?)"), keys);
    const zooms = [
      ["−", "Zoom out (−)", () => this.zoom(2)],
      ["+", "Zoom in (+)", () => this.zoom(0.5)],
      ["Selection", "Zoom to the selection (Z)", () => this.zoomToSelection()],
      ["All", "Show the whole call (0)", () => this.setView(...this.reach)],
    ].map((each) => button(...each));
    const lower = "Show frequencies up to 4 kHz, where the voice is (V)";
    this.voiceButton = button("Voice", lower, () => this.toggleVoice());
    const bar = make(
      "div", "bar",
      group("Playing", this.playButton, this.loopButton, this.speed), this.time, this.meter,
      group("Findings", this.nextButton, this.noting.button),
      group("Zoom", ...zooms, this.voiceButton), this.followButton, this.captions.bar, this.keyList,
    );
    this.choiceBar = make("div", "");
    const matching = "Everything at one level of speech, −26 dBov (M)";
    this.matchButton = button("Same loudness", matching, () => this.toggleMatch());
    this.blindButton = button("Blind", "Hide the names, shuffle, and compare by ear", () => this.toggleBlind());
    this.stage = make("div", "stage", this.picture.canvas);
    this.head = make("div", "head");
    this.head.style.top = `${OVERVIEW + 4}px`;
    this.overviewHead = make("div", "head"); // of the strip, whose axis is the whole call
    this.overviewHead.style.height = `${OVERVIEW}px`;
    this.stage.append(this.head, this.overviewHead);
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "slider");
    this.stage.setAttribute(
      "aria-label",
      "Play position. Click to listen from there, drag to select, turn the wheel to zoom",
    );
    this.stage.setAttribute("aria-valuemin", "0");
    this.hint = make(
      "span", "",
      "Click: listen from there · drag: select · wheel: zoom · Shift + wheel: move · ?: keys",
    );
    this.hover = make("span", "hover");
    this.note = make("div", "note");
    this.note.setAttribute("role", "status");
    this.eventList = make("details", "", make("summary", "", "Events and findings"));
    this.eventList.addEventListener("toggle", () => this.showMarks());
    this.search = make("input", "");
    Object.assign(this.search, { type: "search", placeholder: "Search" });
    this.search.setAttribute("aria-label", "Search events and findings");
    this.search.addEventListener("input", () => this.showMarks());
    this.rows = make("select", "", ...Object.entries(ROWS).map(([row, name]) => new Option(name, row)));
    this.rows.setAttribute("aria-label", "What is listed");
    this.rows.addEventListener("change", () => this.showMarks());
    this.eventList.append(make("div", "bar", this.search, this.rows));
    this.root.append(
      bar, this.choiceBar, this.stage, this.captions.now, make("div", "foot", this.hint, this.hover),
      this.noting.form, this.note, make("div", "lists", this.eventList, this.captions.list),
    );
  }

  buildChoices() {
    const focused = this.choiceBar.contains(document.activeElement) && document.activeElement.title;
    const bars = this.contents.sides.map(({ name: side }) => {
      const mute = button("Mute", `Do not hear the ${side}`, () => {
        this.muted[side] = !this.muted[side];
        this.choose();
      });
      mute.dataset.mute = side;
      mute.setAttribute("aria-label", `Mute the ${side}`);
      const group = make("span", "group", make("span", `side side-${side}`, side), mute);
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", `What is heard of the ${side}`);
      if (side === "bot") this.addBot(group);
      else for (const choice of this.choices(side)) group.append(this.choiceButton(side, choice));
      return make("div", "bar", group);
    });
    bars[0].append(this.matchButton, ...(this.compared ? [this.blindButton] : []));
    this.choiceBar.replaceChildren(...bars);
    if (focused) [...this.choiceBar.querySelectorAll("button")].find((b) => b.title === focused)?.focus();
  }

  addBot(group) {
    this.slotButtons = Object.fromEntries(["A", "B"].map((slot) => {
      const node = button(slot, `Hear ${slot} (${slot})`, () => this.switchSlot(slot));
      node.dataset.slot = slot;
      return [slot, node];
    }));
    group.append(...Object.values(this.slotButtons));
    const shown = this.blind?.map((name) => this.find("bot", name)) ?? this.offered();
    const signals = shown.filter((choice) => !choice.setting);
    const settings = shown.filter((choice) => choice.setting);
    for (const choice of signals) group.append(this.choiceButton("bot", choice));
    if (this.legs.length && !this.blind) group.append(this.legSelect());
    for (const choice of settings) group.append(this.choiceButton("bot", choice));
    this.listed = [...signals, ...settings];
  }

  legSelect() {
    if (this.legs.length === 1) return make("span", "word", `over ${this.legs[0]}:`);
    const select = make("select", "", ...this.legs.map((leg) => new Option(`over ${leg}`, leg)));
    select.value = this.leg;
    select.title = "The caller's leg";
    select.setAttribute("aria-label", "The caller's leg");
    select.addEventListener("change", () => {
      const moved = (name) => {
        const setting = this.find("bot", name)?.setting;
        const there = this.choices("bot").find((c) => c.setting === setting && c.leg === select.value);
        return setting && there ? there.name : name;
      };
      this.leg = select.value;
      this.slots = { A: moved(this.slots.A), B: moved(this.slots.B) };
      this.setChoice("bot", this.slots[this.slot]);
      this.buildChoices();
      this.choose();
    });
    return select;
  }

  choiceButton(side, choice) {
    const title = this.blind && side === "bot" ? "" : choice.sentence;
    const node = button(this.label(choice), title, () => this.setChoice(side, choice.name));
    node.dataset.side = side;
    if (!this.blind || side !== "bot") node.dataset.choice = choice.name;
    node.owner = choice.name;
    return node;
  }

  find(side, name) { return this.choices(side).find((choice) => choice.name === name); }

  // -- choosing what is heard

  setChoice(side, name) {
    this.model.set(side, name);
    this.model.save_changes();
  }

  switchSlot(slot) {
    this.slot = slot;
    this.setChoice("bot", this.slots[slot]);
    this.choose();
  }

  choose() { // what the model says is heard and seen
    const chosen = {};
    for (const { name: side, choices } of this.contents.sides) {
      const choice = this.find(side, this.model.get(side)) ?? choices[0];
      chosen[side] = { voice: { side, name: choice.name, revision: choice.revision }, muted: this.muted[side] };
    }
    this.slots[this.slot] = chosen.bot.voice.name;
    const ready = this.blind ?? Object.values(this.slots);
    this.sound.choices = chosen;
    this.sound.standby = ready.map((name) => this.find("bot", name)).filter(Boolean)
      .map(({ name, revision }) => ({ side: "bot", name, revision }));
    this.sound.refresh();
    this.showChoices();
    this.picture.hidden = this.blind ? "the picture is of bot_said while you compare blind" : "";
    this.requestView();
  }

  showChoices() {
    for (const node of this.choiceBar.querySelectorAll("button[data-side]")) {
      const { side } = node.dataset;
      press(node, node.owner === this.sound.choices[side].voice.name);
      node.querySelector("span")?.remove();
      if (side !== "bot") continue;
      const slots = Object.keys(this.slots).filter((slot) => this.slots[slot] === node.owner);
      if (slots.length) node.append(make("span", "slot", slots.join("")));
    }
    for (const node of this.choiceBar.querySelectorAll("button[data-mute]")) {
      press(node, this.muted[node.dataset.mute]);
    }
    for (const [slot, node] of Object.entries(this.slotButtons)) press(node, slot === this.slot);
    press(this.matchButton, this.sound.matched);
    this.matchButton.disabled = Boolean(this.blind);
    press(this.blindButton, Boolean(this.blind));
  }

  toggleMatch() {
    if (this.blind) return;
    this.sound.matched = !this.sound.matched;
    this.sound.balance();
    this.showChoices();
  }

  toggleVoice() {
    this.voiceOnly = !this.voiceOnly;
    press(this.voiceButton, this.voiceOnly);
    this.requestView();
  }

  toggleBlind() {
    if (this.blind) {
      const names = Object.entries(this.slots).map(([slot, name]) => `${slot} was ${name}`);
      this.blind = null;
      ({ slots: this.slots, slot: this.slot, matched: this.sound.matched } = this.before);
      this.setChoice("bot", this.slots[this.slot]);
      this.say(names.join(", "));
    } else {
      const names = this.offered().filter((choice) => choice.setting).map((choice) => choice.name);
      if (names.length < 2) {
        names.push(...this.offered().map((choice) => choice.name).filter((n) => !names.includes(n)));
      }
      for (let i = names.length - 1; i > 0; i--) { // Fisher and Yates
        const j = Math.floor(Math.random() * (i + 1));
        [names[i], names[j]] = [names[j], names[i]];
      }
      this.before = { slots: this.slots, slot: this.slot, matched: this.sound.matched };
      this.blind = names;
      this.slots = { A: names[0], B: names[1] };
      this.slot = "A";
      this.sound.matched = true;
      this.setChoice("bot", names[0]);
      this.say("Names are hidden and shuffled. Press Blind again to see them.");
    }
    this.buildChoices();
    this.choose();
  }

  // -- playing

  toggle() {
    if (this.sound.playing) this.sound.pause();
    else this.play(this.sound.position >= this.contents.duration - 0.02 ? 0 : this.sound.position);
  }

  play(position) {
    document.dispatchEvent(new CustomEvent("wb-tl-play", { detail: this }));
    this.sound.play(position);
  }

  seek(position, keeping = false) {
    if (!keeping) this.setFinding(null);
    const place = clamp(position, 0, this.contents.duration);
    if (this.sound.playing) this.play(place);
    else {
      this.sound.position = place;
      this.showState();
    }
    this.keepOnScreen(place);
  }

  follow(position) { // Python, or the same player elsewhere on the page, has set it
    this.own = position;
    if (this.sound.playing) return this.play(position);
    this.sound.position = position;
    this.showPosition();
    this.keepOnScreen(position);
  }

  toggleLoop() {
    const selection = this.model.get("selection");
    const [start, end] = selection.length ? selection : this.model.get("view");
    const loop = this.sound.loop || end - start < 0.02 ? null : [start, Math.min(end, this.contents.duration)];
    this.sound.set({ loop });
    press(this.loopButton, Boolean(loop));
  }

  yield() { // whoever looks elsewhere while it plays is not taken back until they ask for it
    if (!this.sound.playing || !this.following) return;
    this.following = false;
    press(this.followButton, false);
  }

  toggleFollow() {
    this.following = !this.following;
    this.showState();
    const [start, end] = this.model.get("view"), now = this.sound.now(), span = end - start;
    if (this.following && (now < start || now > end)) this.setView(now - 0.1 * span, now + 0.9 * span);
  }

  showState() {
    const { playing } = this.sound;
    const now = this.sound.now();
    this.playButton.textContent = playing ? "❚❚ Pause" : "▶ Play";
    this.root.dataset.state = playing ? "playing" : "paused";
    press(this.loopButton, Boolean(this.sound.loop));
    press(this.followButton, this.following);
    this.showPosition();
    this.own = now;
    this.model.set("position", now);
    this.model.set("playing", playing);
    this.model.save_changes();
    if (playing) this.animate();
  }

  animate() {
    if (this.frame) return;
    const step = () => {
      this.frame = null;
      if (this.closed) return;
      this.showPosition();
      this.showLevel();
      this.root.dispatchEvent(new CustomEvent("wb-tl-move", { bubbles: true, detail: this.sound.now() }));
      if (!this.sound.playing) return;
      const now = this.sound.now();
      if (Math.abs(now - this.own) > 0.5) {
        this.own = now;
        this.model.set("position", now);
        this.model.save_changes();
        this.describePosition();
      }
      this.keepOnScreen(now);
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  showLevel() {
    const level = 20 * Math.log10(Math.max(1e-3, this.sound.playing ? this.sound.level() : 0));
    this.meter.dataset.dbov = level.toFixed(1);
    this.meter.firstChild.style.width = `${100 + level / 0.6}%`;
  }

  keepOnScreen(now) {
    const [start, end] = this.model.get("view");
    const span = end - start;
    if (!this.following || this.sound.loop || this.dragging) return;
    if (now > end - 0.05 * span && end < this.contents.duration) this.setView(now - 0.1 * span, now + 0.9 * span);
    else if (now < start) this.setView(now - 0.1 * span, now + 0.9 * span);
  }

  showPosition() {
    const now = this.sound.now();
    const x = this.picture.x(now);
    const inside = x >= GUTTER - 1 && x <= this.picture.width + 1;
    this.head.style.display = inside ? "" : "none";
    this.head.style.transform = `translateX(${x}px)`;
    this.overviewHead.style.transform = `translateX(${this.picture.place(now)}px)`;
    this.time.textContent = `${clock(now)} / ${clock(this.contents.duration)}${this.contents.live ? " live" : ""}`;
    this.captions.showNow(now);
    if (!this.sound.playing) this.describePosition();
  }

  describePosition() {
    const now = this.sound.now();
    this.stage.setAttribute("aria-valuemax", this.contents.duration.toFixed(2));
    this.stage.setAttribute("aria-valuenow", now.toFixed(2));
    this.stage.setAttribute("aria-valuetext", `${clock(now, 1)} of ${clock(this.contents.duration, 1)}`);
  }

  // -- looking

  get reach() { // what can be on screen
    const axis = this.model.get("axis");
    return axis?.length === 2 ? axis : [0, this.contents.duration];
  }

  setView(start, end) {
    const [low, high] = this.reach;
    const span = clamp(end - start, Math.min(0.005, high - low), high - low);
    const first = clamp(start, low, high - span);
    this.model.set("view", [first, first + span]);
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.model.save_changes(), 250);
  }

  zoom(factor, around) {
    this.yield();
    const [start, end] = this.model.get("view");
    const now = this.sound.now();
    const fixed = around ?? (now >= start && now <= end ? now : (start + end) / 2);
    this.setView(fixed - (fixed - start) * factor, fixed + (end - fixed) * factor);
  }

  zoomToSelection() {
    const [start, end] = this.model.get("selection");
    if (end > start) {
      this.yield();
      this.setView(start - 0.03 * (end - start), end + 0.03 * (end - start));
    }
  }

  // One view at a time is under way; of those wanted meanwhile only the last is asked for.
  async requestView() {
    const [start, end] = (this.picture.view = this.model.get("view"));
    this.picture.redraw();
    this.showPosition();
    if (!this.picture.width || end <= start) return;
    const choices = Object.entries(this.sound.choices);
    const tracks = Object.fromEntries(choices.map(([side, { voice }]) => [side, voice.name]));
    if (this.blind) tracks.bot = "bot_said";
    const voice = this.voiceOnly;
    this.wanted = { start, end, columns: this.picture.columns, rows: SPECTRUM, tracks, voice };
    if (performance.now() - (this.asking ?? -1e9) < 10_000) return; // one that was lost is given up
    this.asking = performance.now();
    const late = setTimeout(() => this.say(NO_KERNEL), 4000);
    try {
      while (this.wanted) {
        const question = this.wanted;
        this.wanted = null;
        const { reply, buffers } = await this.kernel.ask("view", question);
        if (this.closed) return;
        this.show(question, reply, buffers);
        this.still.hide();
        if (!this.wanted) await this.askForAll(question);
        if (this.closed) return;
      }
      if (this.note.dataset.late) this.say("");
    } catch (error) {
      this.say(error.message);
    } finally {
      clearTimeout(late);
      this.asking = null;
    }
  }

  // The whole call, coarse: what is seen at once of a place that was not on screen before.
  async askForAll({ tracks, voice }) {
    const { duration, drawings } = this.contents;
    const key = JSON.stringify([tracks, voice, drawings]);
    if (key === this.picture.all?.key) return;
    const question = { start: 0, end: duration, columns: ALL_COLUMNS, rows: SPECTRUM, tracks, voice };
    const { reply, buffers } = await this.kernel.ask("view", question);
    this.picture.all = { key, ...this.drawn(question, reply, buffers, this.picture.all) };
  }

  drawn({ start, end, columns, rows }, reply, buffers, before) {
    const tracks = reply.tracks.map((axes, row) => ({
      ...axes,
      envelope: signed(buffers[3 * row]),
      image: spectrumImage(unsigned(buffers[3 * row + 1]), columns, rows, before?.tracks[row]?.image),
      rms: unsigned(buffers[3 * row + 2]),
    }));
    return { start, end, tracks };
  }

  show(question, reply, buffers) {
    this.picture.tiles = this.drawn(question, reply, buffers, this.picture.tiles);
    this.picture.redraw();
    this.root.dataset.sketch = reply.sketch ? "1" : "";
    this.root.dataset.views = +(this.root.dataset.views ?? 0) + 1;
  }

  select(start, end) {
    const { duration } = this.contents;
    const ends = end === undefined ? [] : [Math.min(start, end), Math.max(start, end)];
    const selection = ends.map((place) => clamp(place, 0, duration));
    this.model.set("selection", selection);
  }

  clearSelection() {
    this.select();
    this.model.save_changes();
    if (this.sound.loop) this.sound.set({ loop: null });
  }

  keepSelection() {
    this.model.save_changes();
    const [start, end] = this.model.get("selection");
    if (this.sound.loop && end - start >= 0.02) this.sound.set({ loop: [start, end] });
  }

  // -- events and findings

  get findings() { // worst first
    return this.marks.filter((mark) => mark.row === "finding").sort((one, other) => one.rank - other.rank);
  }

  nextFinding(direction) { // of those that are somewhere, if there are any
    const { findings } = this, placed = findings.filter((mark) => !mark.whole);
    const all = placed.length ? placed : findings;
    if (!all.length) return this.say("There are no findings.");
    const index = all.indexOf(this.finding) + (this.finding || direction > 0 ? direction : 0);
    this.go(all[(index + all.length) % all.length], true);
  }

  go(mark, zooming = false, part = mark.parts[0]) {
    const [start, end] = this.model.get("view");
    this.picture.shown = mark;
    if (mark.listen && !this.blind) {
      const side = this.contents.sides.find(({ choices }) => choices.some((c) => c.name === mark.listen));
      const slot = Object.keys(this.slots).find((each) => this.slots[each] === mark.listen);
      if (slot) this.switchSlot(slot);
      else if (side) this.setChoice(side.name, mark.listen);
    }
    const [from, until] = zooming ? [mark.start, mark.end] : part;
    const length = until - from;
    const span = zooming ? clamp(length * 2, Math.min(4, this.contents.duration), this.contents.duration) : end - start;
    const seen = from >= start && until <= end && span >= (end - start) * 0.4;
    if (zooming ? !seen || end - start > span * 2.5 : from < start || from > end) {
      const middle = length > span ? from + span * 0.4 : (from + until) / 2;
      this.setView(middle - span / 2, middle + span / 2);
    }
    this.seek(Math.max(0, part[0] - 0.5), true);
    this.setFinding(mark.row === "finding" ? mark : null); // N goes on from here
    this.describe(mark);
    this.picture.redraw();
  }

  goTo(from, until) { // a place that is no mark
    const [start, end] = this.model.get("view");
    if (from < start || until > end) {
      const span = end - start;
      this.setView(from - 0.3 * span, from + 0.7 * span);
    }
    this.seek(Math.max(0, from - 0.2));
    this.picture.redraw();
  }

  when(mark) {
    return mark.end - mark.start >= 0.01 ? `${clock(mark.start)} to ${clock(mark.end)}` : clock(mark.start);
  }

  title(mark) {
    const { title } = mark;
    const what = mark.row === "finding" ? `${mark.shape} ${mark.severity}: ${title}` : title;
    return [what, mark.side, this.when(mark)].filter(Boolean).join(", ");
  }

  named(mark) { // in one line, with the name to search for; an event's title is that already
    const name = mark.kind === mark.title ? "" : ` [${mark.kind}]`;
    return [this.title(mark) + name, mark.text].filter(Boolean).join(" — ");
  }

  describe(mark) {
    const place = mark.row === "finding" ? `, ${this.findings.indexOf(mark) + 1} of ${this.findings.length}` : "";
    const lines = [make("div", "note-title", this.title(mark) + place)];
    if (mark.kind !== mark.title) lines[0].append(" ", make("code", "kind", mark.kind));
    if (mark.text) lines.push(make("div", "", mark.text));
    if (mark.parts.length > 1) lines.push(this.places(mark));
    if (mark.cause) lines.push(make("div", "", `Likely cause: ${mark.cause}`));
    if (mark.remedy) lines.push(make("div", "", `Change: ${mark.remedy}`));
    if (mark.row === "note") lines.push(this.noting.actions(mark));
    this.say("", ...lines);
    if (mark.severity) this.note.classList.add(`wb-tl-note-${mark.severity}`);
  }

  places(mark) { // a button for each part, of the first of them
    const go = (part) => button(clock(part[0]), "Go there", () => this.go(mark, false, part));
    const more = mark.parts.length - MOST_PARTS;
    const line = make("div", "places", "At ", ...mark.parts.slice(0, MOST_PARTS).map(go));
    if (more > 0) line.append(` and ${more} more`);
    return line;
  }

  say(text, ...nodes) {
    this.note.className = "wb-tl-note";
    this.note.replaceChildren(...(text ? [text] : nodes));
    if (text === NO_KERNEL) {
      this.note.dataset.late = "1";
      this.still.show();
    } else delete this.note.dataset.late;
  }

  showMarks() {
    const { findings } = this;
    this.nextButton.disabled = !findings.length;
    this.nextButton.textContent = findings.length ? `Next of ${findings.length} findings` : "No findings";
    const all = this.toldOnce();
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const told = (mark) => `${this.named(mark)} ${mark.cause ?? ""} ${mark.remedy ?? ""}`.toLowerCase();
    const wanted = all.filter((mark) => (!this.rows.value || mark.row === this.rows.value)
      && words.every((word) => told(mark).includes(word)));
    const count = wanted.length < all.length ? `${wanted.length} of ${all.length}` : all.length;
    this.eventList.firstChild.textContent = `Events and findings (${count})`;
    this.eventList.querySelector("ol")?.remove();
    if (!this.eventList.open) return;
    const go = (mark) => button(this.named(mark), "Go there", () => this.go(mark));
    const items = wanted.map((mark) => make("li", "", go(mark)));
    this.eventList.append(make("ol", "list", ...items));
  }

  toldOnce() { // a hole that a finding tells of is not told again
    const places = this.findings.filter((mark) => mark.side !== "caller" && !mark.whole);
    const parts = places.flatMap((mark) => mark.parts);
    const told = (mark) => parts.some(([start, end]) => mark.start < end && mark.end > start);
    return this.marks.filter((mark) => mark.row !== "underrun" || !told(mark));
  }

  // -- the person's hands

  listen() {
    const { canvas } = this.picture;
    const { model, root, stage } = this;
    stage.addEventListener("pointerdown", (event) => this.pointerDown(event));
    stage.addEventListener("pointermove", (event) => this.pointerMove(event));
    stage.addEventListener("pointerup", (event) => this.pointerUp(event));
    stage.addEventListener("pointercancel", () => { this.dragging = null; });
    stage.addEventListener("pointerleave", () => { this.hover.textContent = ""; });
    root.addEventListener("keydown", (event) => this.keyDown(event));
    root.addEventListener("click", (event) => { // a mouse leaves the keys with the stage
      if (event.detail && event.target.closest("button")) stage.focus({ preventScroll: true });
    });
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.onWheel = (event) => { if (!stage.contains(event.target)) this.scrolled = performance.now(); };
    document.addEventListener("wheel", this.onWheel, { capture: true, passive: true });
    this.onOther = ({ detail }) => { if (detail !== this && this.sound.playing) this.sound.pause(); };
    document.addEventListener("wb-tl-play", this.onOther); // one at a time

    const changes = {
      _contents: () => {
        const { readings } = this.contents;
        this.takeContents();
        if (this.contents.readings !== readings) {
          this.loadMarks();
          this.loadWords();
        }
      },
      view: () => this.requestView(),
      axis: () => {
        this.picture.axis = this.reach;
        this.requestView();
      },
      selection: () => {
        this.picture.selection = model.get("selection");
        this.picture.redraw();
      },
      caller: () => this.choose(),
      bot: () => {
        const leg = this.find("bot", model.get("bot"))?.leg;
        if (leg && leg !== this.leg && !this.blind) {
          this.leg = leg;
          this.buildChoices();
        }
        this.choose();
      },
      finding: () => {
        const number = model.get("finding");
        if (number === this.ownFinding) return;
        this.ownFinding = number;
        if (!number) return this.setFinding(null);
        this.toGoTo = { finding: number };
        this.goToWanted();
      },
      position: () => { if (Math.abs(model.get("position") - this.own) > 1e-6) this.follow(model.get("position")); },
    };
    this.changes = Object.entries(changes);
    for (const [name, act] of this.changes) model.on(`change:${name}`, act);
    this.picture.selection = model.get("selection");

    this.resizing = new ResizeObserver(() => {
      const width = Math.floor(stage.clientWidth);
      if (!width || width === this.picture.width) return;
      this.picture.resize(width);
      this.requestView();
    });
    this.resizing.observe(stage);
    this.themes = new MutationObserver(() => this.picture.redraw());
    this.themes.observe(document.body, { attributes: true });
  }

  point(event) {
    const box = this.picture.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * this.picture.width) / box.width, event.clientY - box.top];
  }

  pointerDown(event) {
    if (event.button) return;
    const [x, y] = this.point(event);
    if (x < GUTTER) return;
    this.stage.setPointerCapture(event.pointerId);
    const view = this.model.get("view");
    if (y < OVERVIEW) this.dragging = { kind: "overview" };
    else if (event.shiftKey) this.dragging = { kind: "move", x, view };
    else this.dragging = { kind: "select", x, time: this.picture.time(x), at: this.picture.at(x, y) };
    this.pointerMove(event);
  }

  pointerMove(event) {
    const [x, y] = this.point(event);
    const drag = this.dragging;
    if (!drag) return this.showHover(x, y);
    const [start, end] = this.model.get("view");
    if (drag.kind !== "select") this.yield();
    if (drag.kind === "overview") {
      const [low, high] = this.reach;
      const middle = low + ((x - GUTTER) / this.picture.columns) * (high - low);
      this.setView(middle - (end - start) / 2, middle + (end - start) / 2);
    } else if (drag.kind === "move") {
      const by = ((drag.x - x) / this.picture.columns) * (end - start);
      this.setView(drag.view[0] + by, drag.view[1] + by);
    } else if (drag.moved || Math.abs(x - drag.x) > 4) {
      drag.moved = true;
      this.yield();
      this.select(drag.time, this.picture.time(x));
      const [from, to] = this.model.get("selection");
      this.hover.textContent = `${clock(from, 3)} to ${clock(to, 3)}: ${(to - from).toFixed(3)} s`;
    }
  }

  pointerUp() {
    const drag = this.dragging;
    this.dragging = null;
    if (drag?.kind !== "select") return;
    if (drag.moved) return this.keepSelection();
    if (drag.at) return this.go(drag.at.mark, false, drag.at.part);
    const [start, end] = this.model.get("selection");
    if (!(drag.time >= start && drag.time <= end)) this.clearSelection();
    this.setFinding(null);
    this.play(clamp(drag.time, 0, this.contents.duration));
  }

  showHover(x, y) {
    const { picture } = this;
    if (x < GUTTER) return;
    const { mark, more } = picture.at(x, y) ?? {};
    picture.canvas.style.cursor = mark || y < OVERVIEW ? "pointer" : "text";
    if (mark) {
      this.hover.textContent = more ? `${more + 1} events, the first: ${this.named(mark)}` : this.named(mark);
      return;
    }
    const words = [clock(clamp(picture.time(x), 0, this.contents.duration), 3)];
    const frequency = picture.frequency(y);
    if (frequency) words.push(`${frequency[0]} ${frequency[1]} Hz`);
    this.hover.textContent = words.join(" · ");
  }

  wheel(event) {
    // A page that is being scrolled past does not stop here.
    const passing = performance.now() - (this.scrolled ?? -1e9) < 300;
    if (passing) {
      this.scrolled = performance.now();
      return;
    }
    const [start, end] = this.model.get("view");
    const unit = event.deltaMode === 1 ? 16 : 1;
    const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const turn = unit * (sideways ? event.deltaX || event.deltaY : event.deltaY);
    if (!sideways && turn > 0 && end - start >= this.reach[1] - this.reach[0]) return;
    event.preventDefault();
    if (sideways) {
      const by = (end - start) * turn * 0.0012;
      this.yield();
      this.setView(start + by, end + by);
    } else {
      this.zoom(Math.exp(clamp(turn, -600, 600) * 0.0015), this.picture.time(Math.max(GUTTER, this.point(event)[0])));
    }
  }

  keyDown(event) {
    event.stopPropagation(); // what is typed here is not meant for the notebook
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName } = event.target;
    if (tagName === "SELECT" || tagName === "INPUT") return;
    if (event.key === " " || event.key === "Enter") {
      if (tagName === "BUTTON" || tagName === "SUMMARY") return;
    }
    const act = this.keyAction(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  keyAction({ key, shiftKey }) {
    const now = this.sound.now();
    const [start, end] = this.model.get("selection");
    const { duration } = this.contents;
    const actions = {
      " ": () => this.toggle(),
      Enter: () => this.play(now),
      ArrowLeft: () => this.seek(now - (shiftKey ? 10 : 1)),
      ArrowRight: () => this.seek(now + (shiftKey ? 10 : 1)),
      Home: () => this.seek(0),
      End: () => this.seek(duration),
      "+": () => this.zoom(0.5),
      "=": () => this.zoom(0.5),
      "-": () => this.zoom(2),
      0: () => this.setView(...this.reach),
      z: () => this.zoomToSelection(),
      n: () => this.nextFinding(1),
      p: () => this.nextFinding(-1),
      "[": () => { this.select(now, Math.max(now, end ?? duration)); this.keepSelection(); },
      "]": () => { this.select(Math.min(now, start ?? 0), now); this.keepSelection(); },
      Escape: () => { if (this.keyList.open) this.keyList.open = false; else this.clearSelection(); },
      l: () => this.toggleLoop(),
      a: () => this.switchSlot("A"),
      b: () => this.switchSlot("B"),
      m: () => this.toggleMatch(),
      f: () => this.toggleFollow(),
      v: () => this.toggleVoice(),
      c: () => this.noting.open(),
      "/": () => this.captions.field.focus(),
      "?": () => { this.keyList.open = !this.keyList.open; },
    };
    const choice = key >= "1" && key <= "9" && this.listed[key - 1];
    if (choice) return () => this.setChoice("bot", choice.name);
    return actions[key.length === 1 ? key.toLowerCase() : key];
  }

  close() {
    this.closed = true;
    clearTimeout(this.saving);
    cancelAnimationFrame(this.frame);
    document.removeEventListener("wheel", this.onWheel, { capture: true });
    document.removeEventListener("wb-tl-play", this.onOther);
    this.resizing.disconnect();
    this.themes.disconnect();
    for (const [name, act] of this.changes) this.model.off(`change:${name}`, act);
    this.picture.close();
    this.sound.close();
    this.kernel.close();
    this.still.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const player = new Player(model, el);
  return () => player.close();
}

export default { render };
