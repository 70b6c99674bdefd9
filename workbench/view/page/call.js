// A call: its timeline, what is wrong with it, and an address for each moment of it.

import { address, ask, chips, clock, element, fields, hash, moment, tag } from "./dom.js";
import { Hosted } from "./hosted.js";

const AGAIN = 2000; // milliseconds until a lost connection is tried again
const OTHERS = 200; // calls that are offered to be seen beside this one

export async function copyLink(url, button) {
  const text = button.textContent;
  try {
    await navigator.clipboard.writeText(url);
    button.textContent = "Copied";
  } catch {
    prompt("The link to this place:", url);
  }
  setTimeout(() => { button.textContent = text; }, 1500);
}

export class CallPage {
  constructor(main, calls, [id], visit) {
    Object.assign(this, { main, calls, id, visit });
    this.title = element("h1", {}, "Call");
    this.facts = element("p", { class: "facts" });
    this.status = element("p", { class: "status", role: "status" });
    this.stage = element("div", { class: "player" });
    this.found = element("ol", { class: "found" });
    this.foundHead = element("h2", { hidden: true }, "What is wrong, worst first");
    this.nextLink = element("a", { class: "button", hidden: true }, "Next in the list →");
    const copy = () => copyLink(this.place(), this.copyButton);
    this.copyButton = element("button", { type: "button", onclick: copy }, "Copy link");
    this.beside = element("select", { "aria-label": "Show another call beside this one" });
    this.beside.addEventListener("change", () => visit(address(`call/${id}/${this.beside.value}`)));
    this.labels = element("a", {
      class: "button", href: address(`call/${id}/notes.txt`), download: "", hidden: true,
      title: "Your notes, as a label track for Audacity",
    }, "Notes as labels");
    main.append(
      element("nav", { class: "bar" }, element("a", { href: calls.list, class: "button" }, "← Calls"), this.nextLink,
        element("span", { class: "gap" }), this.beside, this.copyButton, this.labels),
      this.title, this.facts, this.status, this.stage, this.foundHead, this.found,
    );
    this.onCalls = () => this.showFacts();
    calls.listeners.add(this.onCalls);
    this.load();
    this.host(fields());
  }

  // -- what is known of it

  async load() {
    try {
      this.about = await ask(`call/${this.id}/about`);
    } catch (error) {
      this.say(error.message, true);
      return;
    }
    if (this.closed) return;
    this.revision = JSON.stringify(this.calls.all.get(this.id));
    this.showFacts();
    this.showFound();
  }

  showFacts() {
    const about = this.calls.all.get(this.id) ?? this.about;
    if (!about) return;
    if (this.about && this.calls.all.has(this.id) && this.revision !== JSON.stringify(about)) {
      this.revision = JSON.stringify(about); // it was diagnosed meanwhile
      this.load();
    }
    document.title = about.name;
    this.title.textContent = about.name;
    const told = [
      about.state === "recording" && element("span", { class: "tag live" }, "live"),
      about.worst_severity && tag(about.worst_severity),
      element("span", {}, moment(about.started_at)), element("span", {}, clock(about.duration)),
      ...chips(about.labels),
    ];
    this.facts.replaceChildren(...told.filter(Boolean).flatMap((node) => [node, " "]));
    this.labels.hidden = !about.noted;
    const ranked = this.calls.inOrder(), at = ranked.findIndex(({ id }) => id === this.id);
    const next = at >= 0 && ranked[at + 1];
    this.showOthers(ranked.filter(({ id, state }) => id !== this.id && state !== "broken"));
    this.nextLink.hidden = !next;
    if (next) Object.assign(this.nextLink, { href: address(`call/${next.id}`), title: next.name });
  }

  showOthers(others) {
    const told = others.slice(0, OTHERS).map(({ id, name, started_at: began }) => [id, `${name}, ${moment(began)}`]);
    const key = JSON.stringify(told);
    if (key === this.others || document.activeElement === this.beside) return;
    this.others = key;
    this.beside.hidden = !told.length;
    this.beside.replaceChildren(new Option("Beside another…", ""), ...told.map(([id, text]) => new Option(text, id)));
  }

  showFound() {
    const { found } = this.about, told = new Set();
    const once = (text) => { // what several have in common is said at the first of them
      const isNew = text && !told.has(text);
      told.add(text);
      return isNew;
    };
    this.foundHead.hidden = !found.length;
    this.found.replaceChildren(...found.map((each, i) => {
      const [start, end] = [each.start.toFixed(2), each.end.toFixed(2)];
      const when = each.end - each.start >= 0.01 ? `${start}–${end} s` : `${start} s`;
      const link = element("a", { href: this.link({ t: each.start.toFixed(2), finding: i + 1 }) }, each.title);
      return element("li", {},
        element("p", {}, tag(each.severity), " ", link, each.side ? ` (${each.side})` : "", ` at ${when}`),
        element("p", {}, each.measurement),
        once(each.cause) && element("p", { class: "quiet" }, `Likely cause: ${each.cause}`),
        once(each.remedy) && element("p", { class: "quiet" }, `Change: ${each.remedy}`));
    }));
  }

  // -- its timeline

  host({ t, finding }) {
    const begin = { finding: +finding || 0, position: +t || 0 };
    this.hosted = new Hosted(this.id, this.stage, {
      begin,
      onmodel: (model) => this.watch(model),
      onstatus: ({ text, failed }) => this.say(text, failed),
      onlost: () => this.again(),
    });
  }

  watch(model) {
    this.model = model;
    model.on("change:finding", () => this.findingChanged());
    model.on("change:position", () => this.positionChanged());
  }

  again() { // the connection is gone: the same place, once it is back
    this.say("The connection is lost; trying again.", true);
    const begin = { t: this.model?.get("position"), finding: this.model?.get("finding") };
    this.hosted.close();
    this.retry = setTimeout(() => this.host(begin), AGAIN);
  }

  say(text, failed = false) {
    this.status.textContent = text;
    this.status.classList.toggle("failed", Boolean(failed));
    this.status.hidden = !text;
  }

  // -- its address

  link(told) { return address(`call/${this.id}`) + hash(told); }

  findingChanged() { // a finding is a step that one can go back from
    const number = this.model.get("finding");
    if (!number || this.going || fields().finding === String(number)) return;
    const start = this.about?.found[number - 1]?.start ?? this.model.get("position");
    clearTimeout(this.writing);
    history.pushState(null, "", this.link({ t: start.toFixed(2), finding: number }));
  }

  positionChanged() { // a place is where one is: no step of its own
    if (this.going || this.model.get("playing")) return;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const number = this.model.get("finding");
      if (this.closed || (number && fields().finding === String(number))) return;
      history.replaceState(null, "", this.place());
    }, 300);
  }

  go() { // the address has changed
    const { t, finding } = fields();
    if (!this.model) return;
    clearTimeout(this.writing);
    this.going = true;
    try {
      this.model.set("finding", +finding || 0);
      if (t) this.model.set("position", +t);
      this.model.save_changes();
    } finally {
      this.going = false;
    }
    this.stage.scrollIntoView({ block: "nearest" });
  }

  place() {
    return this.link({ t: this.model?.get("position").toFixed(2), finding: this.model?.get("finding") || "" });
  }

  close() {
    this.closed = true;
    clearTimeout(this.retry);
    clearTimeout(this.writing);
    this.calls.listeners.delete(this.onCalls);
    this.hosted.close();
  }
}
