// Two calls on one clock, from their start or from a finding of each: before and after a fix.

import { copyLink } from "./call.js";
import { address, ask, chips, clock, element, fields, figure, hash, moment, tag } from "./dom.js";
import { Hosted } from "./hosted.js";

const FIGURES = [ // of a call's row, with a heading and digits
  ["errors", "errors", 0], ["warnings", "warnings", 0], ["holes_per_min", "holes a minute", 1],
  ["answer_p50_ms", "answer, median (ms)", 0], ["answer_p95_ms", "answer, 95 % (ms)", 0],
  ["loss_percent", "loss (%)", 1],
];

export class PairPage {
  constructor(main, calls, ids, visit) {
    Object.assign(this, { main, calls, visit });
    this.table = element("table", { class: "pair" });
    const title = "Hear the other call, at the same place (X)";
    const other = { type: "button", title, onclick: () => this.switch() };
    const copy = { type: "button", onclick: () => copyLink(this.link(), this.copyButton) };
    this.otherButton = element("button", other, "Hear the other (X)");
    this.copyButton = element("button", copy, "Copy link");
    this.sides = ids.map((id, i) => this.side(id, i));
    main.append(
      element("nav", { class: "bar" },
        element("a", { href: calls.list, class: "button" }, "← Calls"), this.otherButton,
        element("span", { class: "gap" }), this.copyButton),
      element("h1", {}, "Two calls on one clock"), this.table,
      element("div", { class: "bar lined" },
        "Lined up at", ...this.sides.flatMap(({ lined }, i) => [i ? "and" : "", lined])),
      ...this.sides.flatMap(({ head, status, stage }) => [head, status, stage]),
    );
    document.title = "Two calls";
    this.onKey = (event) => this.keyDown(event);
    document.addEventListener("keydown", this.onKey, { capture: true });
    this.zeros = this.told();
    this.onCalls = () => { // one that was diagnosed meanwhile
      const known = JSON.stringify(ids.map((id) => calls.all.get(id)));
      if (known !== this.known) this.load();
      this.known = known;
    };
    calls.listeners.add(this.onCalls);
    this.load();
  }

  side(id, i) {
    const side = { id, i, found: [] };
    side.head = element("h2", {});
    side.status = element("p", { class: "status", role: "status", hidden: true });
    side.stage = element("div", { class: "player" });
    const label = `Where the ${i ? "second" : "first"} call is lined up`;
    side.lined = element("select", { "aria-label": label }, new Option("its start", 0));
    side.lined.addEventListener("change", () => this.lineUp(i));
    side.stage.addEventListener("wb-tl-move", ({ detail }) => this.move(i, detail));
    const begin = { t: fields().t };
    side.hosted = new Hosted(id, side.stage, {
      begin: i ? {} : { position: +begin.t || 0 },
      onmodel: (model) => this.watch(side, model),
      onstatus: ({ text, failed }) => this.say(side, text, failed),
      onlost: () => this.say(side, "The connection is lost: load the page anew.", true),
    });
    return side;
  }

  say({ status }, text, failed) {
    status.textContent = text;
    status.classList.toggle("failed", Boolean(failed));
    status.hidden = !text;
  }

  async load() {
    try {
      const abouts = await Promise.all(this.sides.map(({ id }) => ask(`call/${id}/about`)));
      this.sides.forEach((side, i) => this.take(side, abouts[i]));
      this.showTable(abouts);
    } catch (error) {
      this.say(this.sides[0], error.message, true);
    }
  }

  take(side, about) {
    const { id, head, lined } = side, { found } = about;
    side.found = found;
    head.replaceChildren(element("a", { href: address(`call/${id}`) }, about.name), " ", ...chips(about.labels));
    lined.replaceChildren(new Option("its start", 0), ...found.map(({ title, start, severity }) => (
      new Option(`${severity}: ${title} at ${start.toFixed(2)} s`, start.toFixed(2))
    )));
    const zero = this.zeros[side.i].toFixed(2);
    if (+zero && ![...lined.options].some(({ value }) => value === zero)) lined.add(new Option(`${zero} s`, zero));
    lined.value = +zero ? zero : "0";
  }

  showTable(abouts) {
    const parts = (told) => [told].flat().filter((part) => part !== null);
    const cells = (tell) => abouts.map((about) => element("td", {}, ...parts(tell(about))));
    const rows = [
      ["began", cells(({ started_at: began }) => moment(began))],
      ["length", cells(({ duration }) => clock(duration))],
      ["worst of it", cells(({ worst_severity: how, found }) =>
        (how ? [tag(how), ` ${found[0].title}`] : "nothing found"))],
      ...FIGURES.map(([name, heading, digits]) => [heading, cells((about) => figure(about[name], digits))]),
    ];
    this.table.replaceChildren(
      element("thead", {}, element("tr", {},
        element("th"), ...abouts.map(({ name }) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows.map(([heading, of]) =>
        element("tr", {}, element("th", { scope: "row" }, heading), ...of))),
    );
  }

  // -- one clock

  told() { // where both are lined up, of the address
    const [first, second] = (fields().zero ?? "").split(",").map(Number);
    return [first || 0, second || 0];
  }

  lineUp(i) { // by hand; of one kind of finding the other call may have one too
    const [chosen, other] = [this.sides[i], this.sides[1 - i]];
    const finding = chosen.found[chosen.lined.selectedIndex - 1];
    const alike = finding && other.found.find(({ kind }) => kind === finding.kind);
    if (!+chosen.lined.value) other.lined.value = "0";
    else if (alike) other.lined.value = alike.start.toFixed(2);
    this.zeros = this.sides.map(({ lined }) => +lined.value);
    this.align(true);
    history.pushState(null, "", this.link());
  }

  link() {
    const { model, id } = this.sides[0], other = this.sides[1].id;
    const zero = this.zeros.some(Boolean) ? this.zeros.map((at) => at.toFixed(2)).join(",") : "";
    return address(`call/${id}/${other}`) + hash({ t: model?.get("position").toFixed(2), zero });
  }

  get shift() { return this.zeros[1] - this.zeros[0]; } // from the first call's time to the second's

  watch(side, model) {
    side.model = model;
    model.on("change:view", () => this.pass(side.i, "view", model.get("view")));
    model.on("change:position", () => this.move(side.i, model.get("position")));
    model.on("change:_contents", () => this.align(false));
    if (this.sides.every((each) => each.model)) queueMicrotask(() => this.align(true));
  }

  align(anew) { // both can show all that either has
    const [one, other] = this.sides.map(({ model }) => model);
    if (!one || !other) return;
    const { shift } = this;
    const [length, second] = [one, other].map((model) => model.get("_contents").duration);
    const low = Math.min(0, -shift), high = Math.max(length, second - shift);
    this.passing = true;
    one.set("axis", [low, high]);
    other.set("axis", [low + shift, high + shift]);
    if (anew) {
      const [from] = this.zeros;
      const view = from ? [Math.max(low, from - 4), Math.min(high, from + 4)] : [low, high];
      one.set("view", view);
      other.set("view", view.map((at) => at + shift));
    }
    this.passing = false;
    if (anew && this.zeros[0]) one.set("position", this.zeros[0]);
    this.move(0, one.get("position"));
  }

  pass(i, name, value) { // what is done with one is done with the other
    const { model } = this.sides[1 - i];
    if (this.passing || !model) return;
    this.passing = true;
    model.set(name, value.map((at) => at + (i ? -this.shift : this.shift)));
    this.passing = false;
  }

  move(i, position) {
    const { model } = this.sides[1 - i];
    if (this.passing || !model || model.get("playing")) return;
    const at = position + (i ? -this.shift : this.shift);
    this.passing = true;
    model.set("position", Math.min(Math.max(at, 0), model.get("_contents").duration));
    this.passing = false;
  }

  switch() { // the play button of the other: it takes over where both are
    const playing = this.sides.findIndex(({ model }) => model?.get("playing"));
    this.heard = playing < 0 ? 1 - (this.heard ?? 1) : 1 - playing;
    const { stage } = this.sides[this.heard];
    stage.querySelector(".wb-tl-play")?.click();
  }

  keyDown(event) {
    const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
    if (event.key.toLowerCase() !== "x" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.switch();
  }

  go() { // the address has changed
    this.zeros = this.told();
    for (const { lined, i } of this.sides) lined.value = this.zeros[i] ? this.zeros[i].toFixed(2) : "0";
    this.align(true);
    const { t } = fields();
    if (t) this.sides[0].model?.set("position", +t);
  }

  close() {
    document.removeEventListener("keydown", this.onKey, { capture: true });
    this.calls.listeners.delete(this.onCalls);
    for (const { hosted } of this.sides) hosted.close();
  }
}
