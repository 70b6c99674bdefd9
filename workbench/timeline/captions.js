// What is said: on the tracks, under the picture, in a list, and searched. A part of timeline.js.
//
// It comes in answer to a message and stays on the page: nothing of it is kept in a notebook.

const CAPTION = 15; // height of a line on the canvas
const UNHEARD = "the caller did not hear this";

class Phrase {
  constructor({ side, heard, about, words }) {
    Object.assign(this, { side, heard, about });
    this.words = words.map(([text, start, end]) => ({ text, start, end }));
    this.text = words.map(([text]) => text).join(" ");
    this.start = this.words[0].start;
    this.end = this.words.at(-1).end;
  }

  find(wanted) { // each place of a text, as the words that it goes over
    const lower = this.words.map(({ text }) => text.toLowerCase());
    const whole = lower.join(" "), found = [];
    for (let at = whole.indexOf(wanted); at >= 0; at = whole.indexOf(wanted, at + wanted.length)) {
      let letters = 0;
      const words = this.words.filter((_, i) => {
        const from = letters;
        letters += lower[i].length + 1;
        return from < at + wanted.length && letters - 1 > at;
      });
      found.push({ phrase: this, words, start: words[0].start, end: words.at(-1).end });
    }
    return found;
  }
}

class Captions {
  constructor(player) {
    this.player = player;
    this.phrases = [];
    this.found = []; // places of what is searched for
    this.at = -1; // which of them was gone to
    this.field = make("input", "search");
    this.field.type = "search";
    this.field.placeholder = "Search what was said";
    this.field.setAttribute("aria-label", "Search what was said");
    this.field.title = "Enter: next place, with Shift: the one before (/)";
    this.field.addEventListener("input", () => this.search());
    this.field.addEventListener("keydown", (event) => this.keyDown(event));
    this.count = make("span", "word");
    this.count.setAttribute("role", "status");
    this.bar = make("span", "group", this.field, this.count);
    this.now = make("div", "captions");
    this.list = make("details", "", make("summary", "", "What was said"));
    this.list.addEventListener("toggle", () => this.showList());
    this.show();
  }

  take(phrases) {
    this.phrases = phrases.map((each) => new Phrase(each));
    this.search();
    this.show();
  }

  show() {
    const there = this.phrases.length > 0;
    for (const node of [this.bar, this.now, this.list]) node.hidden = !there;
    this.showList();
    this.told = null;
    this.showNow(this.player.sound.now());
  }

  // -- searching

  search() {
    const wanted = this.field.value.trim().toLowerCase();
    this.found = wanted ? this.phrases.flatMap((phrase) => phrase.find(wanted)) : [];
    this.found.sort((a, b) => a.start - b.start);
    this.at = -1;
    this.showCount();
    this.player.picture.redraw();
  }

  showCount() {
    const { length } = this.found;
    const place = this.at >= 0 ? `${this.at + 1} of ${length}` : `${length} found`;
    this.count.textContent = this.field.value.trim() ? place : "";
  }

  keyDown(event) {
    if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      this.field.value = "";
      this.search();
      this.player.stage.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  }

  next(direction) {
    const { length } = this.found;
    if (!length) return;
    const now = this.player.sound.now();
    if (this.at >= 0) this.at = (this.at + direction + length) % length;
    else {
      this.at = this.found.findIndex(({ start }) => start >= now);
      if (direction < 0) this.at = (this.at < 0 ? length : this.at) - 1;
      this.at = (this.at + length) % length;
    }
    this.showCount();
    this.player.goTo(this.found[this.at].start, this.found[this.at].end);
  }

  // -- in words

  node(phrase, sounding = []) { // a phrase, with what is said now in bold
    const node = make(phrase.heard ? "span" : "s", "", ...phrase.words.flatMap((word, i) => {
      const text = sounding.includes(word) ? make("b", "", word.text) : word.text;
      return i ? [" ", text] : [text];
    }));
    if (!phrase.heard) node.title = UNHEARD;
    return node;
  }

  showNow(time) { // of each side what is said, or was just now
    if (this.now.hidden) return;
    const said = this.phrases.filter((p) => p.start <= time + 0.05 && p.end >= time - 1);
    const sounding = said.flatMap((p) => p.words.filter((w) => w.start <= time && w.end > time));
    const told = [...said, ...sounding];
    if (told.length === this.told?.length && told.every((each, i) => each === this.told[i])) return;
    this.told = told; // at each frame the same, mostly
    this.now.replaceChildren(...this.player.contents.sides.map(({ name: side }) => {
      const own = said.filter((phrase) => phrase.side === side);
      const nodes = own.flatMap((phrase) => [" ", this.node(phrase, sounding)]);
      return make("div", "caption", make("span", `side side-${side}`, side), ...nodes);
    }));
  }

  showList() {
    this.list.querySelector("ol")?.remove();
    if (!this.list.open) return;
    const items = this.phrases.map((phrase) => {
      const about = phrase.about ? "about " : "";
      const node = button("", phrase.heard ? "Go there" : UNHEARD, () => this.player.goTo(phrase.start, phrase.end));
      node.append(`${about}${clock(phrase.start, 1)} `, make("b", "", phrase.side), " ", this.node(phrase));
      if (!phrase.heard) node.append(" (not heard)");
      return make("li", "", node);
    });
    this.list.append(make("ol", "list", ...items));
  }

  // -- on the canvas

  draw(picture, side, y) { // word by word where there is room, else as much of a phrase as there is
    const { ink } = picture;
    const own = this.phrases.filter((phrase) => phrase.side === side);
    const [from, until] = picture.view;
    const seen = own.filter((p) => p.end >= from && p.start <= until);
    if (!seen.length) return;
    ink.save();
    ink.beginPath();
    ink.rect(GUTTER, y, picture.columns, CAPTION);
    ink.clip();
    ink.fillStyle = "rgba(0, 0, 0, 0.7)";
    ink.fillRect(GUTTER, y, picture.columns, CAPTION);
    const found = new Set(this.found.flatMap(({ words }) => words));
    const current = new Set(this.found[this.at]?.words);
    for (const phrase of seen) {
      const next = own[own.indexOf(phrase) + 1];
      const end = next ? picture.x(next.start) : Infinity;
      const places = phrase.words.map((word) => picture.x(word.start));
      const fits = phrase.words.every((word, i) => {
        const room = (places[i + 1] ?? end) - places[i];
        return ink.measureText(word.text).width + 4 <= room;
      });
      let x = Math.max(places[0], GUTTER + 2);
      phrase.words.forEach((word, i) => {
        if (fits) x = places[i];
        const wide = ink.measureText(word.text).width;
        if (x + wide > end) return;
        if (!fits && picture.x(word.end) < GUTTER) return; // said before what is on screen
        this.drawWord(ink, word, phrase, x, y, wide, found, current);
        x += wide + 4;
      });
    }
    ink.restore();
  }

  drawWord(ink, word, phrase, x, y, wide, found, current) {
    if (found.has(word)) {
      ink.fillStyle = current.has(word) ? "#ffd33d" : "#8a6d00";
      ink.fillRect(x - 1, y + 1, wide + 2, CAPTION - 2);
    }
    ink.fillStyle = current.has(word) ? "#000" : phrase.heard ? "#fff" : "#ffb3ab";
    ink.fillText(word.text, x, y + CAPTION / 2 + 0.5);
    if (!phrase.heard) ink.fillRect(x - 1, y + CAPTION / 2, wide + 3, 1); // struck out
  }
}
