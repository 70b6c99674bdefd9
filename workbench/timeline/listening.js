// A blind test: A, B and X are heard in step as often as wanted; which of both is X? The kernel
// (listening.py) alone knows. Names are shown when the last answer was given.

const LETTERS = ["A", "B", "X"];

class Listening {
  constructor(model, element) {
    this.model = model;
    this.kernel = new Kernel(model);
    this.still = new Still(model);
    this.heard = "A";
    this.root = make("div", "");
    this.root.className = "wb-tl";
    this.root.setAttribute("role", "region");
    this.root.setAttribute("aria-label", "Blind listening test");
    const { play_rate: rate, chunk_secs: chunk, duration } = model.get("_progress");
    this.sound = new Sound(this.kernel, {
      rate, chunk, duration,
      onchange: () => this.show(),
      onerror: (error) => { this.note.textContent = error.message; },
    });
    Object.assign(this.sound, { loop: [0, duration], matched: true });
    this.build();
    element.append(this.root);
    this.onProgress = () => this.turn();
    model.on("change:_progress", this.onProgress);
    this.onOther = ({ detail }) => { if (detail !== this && this.sound.playing) this.sound.pause(); };
    document.addEventListener("wb-tl-play", this.onOther); // one at a time
    this.turn();
    this.still.hide();
  }

  build() {
    const group = (name, ...nodes) => {
      const node = make("span", "group", ...nodes);
      node.setAttribute("role", "group");
      node.setAttribute("aria-label", name);
      return node;
    };
    this.playButton = button("▶ Play", "Play or pause (Space)", () => this.toggle());
    this.playButton.classList.add("wb-tl-play");
    this.hearButtons = LETTERS.map((letter) => button(letter, `Hear ${letter} (${letter})`, () => this.hear(letter)));
    this.answerButtons = ["A", "B"].map((letter, i) => (
      button(`X is ${letter}`, `X is ${letter} (${i + 1})`, () => this.answer(letter))
    ));
    this.againButton = button("Again", "Begin a new test", () => this.tell("again"));
    this.place = make("span", "word");
    this.meter = make("span", "meter", make("span", "level"));
    this.meter.setAttribute("aria-hidden", "true");
    this.note = make("div", "note");
    this.note.setAttribute("role", "status");
    this.root.tabIndex = 0;
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");
    this.root.append(
      make(
        "div", "bar",
        group("Playing", this.playButton),
        group("Hear", make("span", "word", "Hear"), ...this.hearButtons), this.meter,
      ),
      make("div", "bar", group("Answer", ...this.answerButtons), this.place, this.againButton),
      this.note,
      make("div", "foot", "Keys: Space plays, A B X choose what is heard, 1 answers “X is A”, 2 “X is B”."),
    );
    this.root.addEventListener("keydown", (event) => this.keyDown(event));
  }

  voice(letter) { // X is another sound in each trial
    const { trial, test } = this.model.get("_progress");
    return { side: "blind", name: letter, revision: letter === "X" ? `${test}.${trial}` : 0 };
  }

  turn() { // a new trial, or the end
    const { over, trial, trials, said } = this.model.get("_progress");
    if (over && this.sound.playing) this.sound.pause();
    for (const node of this.answerButtons) node.disabled = over;
    this.hearButtons[2].disabled = over;
    this.againButton.hidden = !over;
    this.place.textContent = over ? "" : `trial ${trial + 1} of ${trials}`;
    this.note.textContent = said || "Listen to A, B and X as often as you like, then say which one X is.";
    if (over && this.heard === "X") this.heard = "A";
    this.choose();
  }

  hear(letter) {
    if (letter === "X" && this.model.get("_progress").over) return;
    this.heard = letter;
    this.choose();
    if (!this.sound.playing) this.play();
  }

  choose() {
    const { over } = this.model.get("_progress");
    this.sound.choices = { blind: { voice: this.voice(this.heard), muted: false } };
    this.sound.standby = LETTERS.filter((letter) => !(over && letter === "X")).map((letter) => this.voice(letter));
    this.sound.refresh();
    this.show();
  }

  answer(letter) {
    if (this.model.get("_progress").over) return;
    this.tell("answer", { letter, trial: this.model.get("_progress").trial });
  }

  tell(kind, what) {
    this.kernel.ask(kind, what).catch((error) => { this.note.textContent = error.message; });
  }

  play() {
    document.dispatchEvent(new CustomEvent("wb-tl-play", { detail: this }));
    this.sound.play(this.sound.position);
  }

  toggle() { if (this.sound.playing) this.sound.pause(); else this.play(); }

  show() {
    if (!this.playButton) return;
    const { playing } = this.sound;
    this.playButton.textContent = playing ? "❚❚ Pause" : "▶ Play";
    this.root.dataset.state = playing ? "playing" : "paused";
    this.hearButtons.forEach((node, i) => press(node, LETTERS[i] === this.heard));
    if (playing) this.animate();
  }

  animate() {
    if (this.frame) return;
    const step = () => {
      this.frame = null;
      if (this.closed) return;
      const level = 20 * Math.log10(Math.max(1e-3, this.sound.playing ? this.sound.level() : 0));
      this.meter.dataset.dbov = level.toFixed(1);
      this.meter.firstChild.style.width = `${100 + level / 0.6}%`;
      if (this.sound.playing) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  keyDown(event) {
    event.stopPropagation(); // what is typed here is not meant for the notebook
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === " " && event.target.tagName === "BUTTON") return;
    const actions = { " ": () => this.toggle(), 1: () => this.answer("A"), 2: () => this.answer("B") };
    for (const letter of LETTERS) actions[letter] = actions[letter.toLowerCase()] = () => this.hear(letter);
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  close() {
    this.closed = true;
    cancelAnimationFrame(this.frame);
    document.removeEventListener("wb-tl-play", this.onOther);
    this.model.off("change:_progress", this.onProgress);
    this.sound.close();
    this.kernel.close();
    this.still.close();
    this.root.remove();
  }
}

function render({ model, el }) {
  const listening = new Listening(model, el);
  return () => listening.close();
}

export default { render };
