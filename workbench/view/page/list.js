// The list of calls: sorted, filtered, with the address saying how.

import { address, chips, clock, element, fields, figure, hash, moment, tag } from "./dom.js";

const STEP = 200; // rows that are shown at once, and more of them where somebody scrolls
const COLUMNS = [ // name, heading, what it is sorted by, whether the largest comes first
  ["harm", "harm", "Of the worst finding: from 2000 on it spoils the conversation, from 1000 on it is heard",
    (c) => c.harm, true],
  ["worst", "worst of it", "The worst finding", (c) => c.worst_kind, false],
  ["began", "began", "In your time", (c) => c.started_at, true],
  ["length", "length", "Minutes and seconds", (c) => c.duration, true],
  ["holes", "holes/min", "Holes in each minute of the bot's speech", (c) => c.holes_per_min, true],
  ["answer", "answer (ms)", "The wait before an answer, median", (c) => c.answer_p50_ms, true],
  ["loss", "loss (%)", "Of the caller's audio", (c) => c.loss_percent, true],
  ["labels", "labels", "What the bot told its calls apart by", (c) => JSON.stringify(c.labels), false],
  ["name", "capture", "The file", (c) => c.name, false],
];
const SEVERITIES = {
  "": "all calls", error: "an error", warning: "a warning or worse", any: "any finding", none: "no finding",
  broken: "broken", recording: "being recorded", noted: "notes",
};

const has = (call, severity) => {
  const { errors = 0, warnings = 0, infos = 0 } = call;
  if (severity === "error") return errors > 0;
  if (severity === "warning") return errors + warnings > 0;
  if (severity === "any") return errors + warnings + infos > 0;
  if (severity === "none") return call.state === "known" && errors + warnings + infos === 0;
  if (severity === "noted") return call.noted;
  if (severity) return call.state === severity;
  return true;
};

export class ListPage {
  constructor(main, calls) {
    Object.assign(this, { main, calls });
    this.shown = STEP;
    this.sentence = element("p", { class: "sentence", role: "status" });
    this.progress = element("progress", { max: 1, value: 0, "aria-label": "Calls that were looked at" });
    this.problems = element("ul", { class: "problems" });
    this.filters = element("form", { class: "filters", onsubmit: (event) => event.preventDefault() });
    this.filters.addEventListener("input", () => this.filter());
    this.head = element("tr");
    this.body = element("tbody");
    this.count = element("p", { class: "quiet", role: "status" });
    this.more = element("button", { type: "button", onclick: () => { this.shown += STEP; this.show(); } }, "Show more");
    const folded = element("details", { class: "filtering", open: matchMedia("(min-width: 700px)").matches },
      element("summary", {}, "Which calls"), this.filters);
    this.table = element("table", { class: "calls" }, element("thead", {}, this.head), this.body);
    main.append(
      element("h1", {}, "Calls"), this.sentence, this.progress, this.problems, folded, this.count,
      this.table, this.more,
    );
    document.title = "Calls";
    this.build();
    this.take();
    this.onCalls = () => { this.build(); this.show(); };
    calls.listeners.add(this.onCalls);
    this.show();
  }

  // -- what is asked for

  build() { // the choices that these calls offer; what was chosen stays
    const all = [...this.calls.all.values()];
    const labels = {};
    for (const { labels: own } of all) {
      for (const [name, value] of Object.entries(own)) ((labels[name] ??= {})[value] ??= 0, labels[name][value] += 1);
    }
    const kinds = {};
    for (const { kinds: own } of all) {
      for (const kind of new Set(own.map((each) => each.kind))) (kinds[kind] ??= { count: 0 }).count += 1;
      for (const { kind, title } of own) kinds[kind].title = title;
    }
    const key = JSON.stringify([labels, kinds]);
    if (key === this.built) return;
    this.built = key;
    const chosen = { ...fields(), ...this.chosen() };
    const options = (named) => named.map(([value, text]) => new Option(text, value));
    const select = (name, text, named) => element("label", {}, text, element("select", { name }, ...options(named)));
    const byText = ([a], [b]) => a.localeCompare(b, undefined, { numeric: true });
    const counted = (values) => Object.entries(values).sort(byText)
      .map(([value, count]) => [value, `${value} (${count})`]);
    const input = (name, text, type, more = {}) =>
      element("label", {}, text, element("input", { name, type, ...more }));
    this.filters.replaceChildren(
      input("search", "Search", "search", { placeholder: "file, finding, label" }),
      select("severity", "With", Object.entries(SEVERITIES)),
      select("kind", "Kind of finding", [["", "any"], ...Object.entries(kinds)
        .sort(([, a], [, b]) => b.count - a.count).map(([kind, { title, count }]) => [kind, `${title} (${count})`])]),
      ...Object.entries(labels).map(([name, values]) =>
        select(`label.${name}`, name, [["", "any"], ...counted(values)])),
      input("from", "From", "date"), input("until", "Until", "date"),
      input("longer", "Longer than (s)", "number", { min: 0, step: "any" }),
      input("shorter", "Shorter than (s)", "number", { min: 0, step: "any" }),
      element("button", { type: "button", onclick: () => { this.filters.reset(); this.filter(); } }, "All calls"),
    );
    this.fill(chosen);
  }

  fill(chosen) {
    for (const control of this.filters.elements) {
      if (!control.name) continue;
      const wanted = chosen[control.name] ?? "";
      if (wanted && control.tagName === "SELECT" && ![...control.options].some((o) => o.value === wanted)) {
        control.add(new Option(`${wanted} (0)`, wanted)); // a link may ask for what is no more
      }
      control.value = wanted;
    }
  }

  chosen() {
    const named = [...this.filters.elements].filter(({ name, value }) => name && value);
    return Object.fromEntries(named.map(({ name, value }) => [name, value]));
  }

  take() { // from the address
    const told = fields();
    this.sort = COLUMNS.find(([name]) => name === told.sort)?.[0] ?? "harm";
    this.turned = told.turned === "1";
    this.fill(told);
  }

  filter() {
    const told = { ...this.chosen(), sort: this.sort === "harm" ? "" : this.sort, turned: this.turned ? "1" : "" };
    history.replaceState(null, "", location.pathname + hash(told));
    this.shown = STEP;
    this.show();
  }

  matches(call, chosen) {
    const { search, severity, kind, from, until, longer, shorter } = chosen;
    const day = call.started_at ? moment(call.started_at).slice(0, 10) : "";
    const kinds = call.kinds.map((k) => `${k.kind} ${k.title}`);
    const words = [call.name, call.worst, call.problem, ...kinds, ...Object.values(call.labels)];
    const told = () => words.join(" ").toLowerCase();
    return has(call, severity) && (!kind || call.kinds.some((each) => each.kind === kind))
      && (!from || day >= from) && (!until || (day && day <= until))
      && (!longer || call.duration > +longer) && (!shorter || (call.duration !== null && call.duration < +shorter))
      && (!search || search.toLowerCase().split(/\s+/).every((word) => told().includes(word)))
      && Object.entries(chosen).every(
        ([name, value]) => !name.startsWith("label.") || call.labels[name.slice(6)] === value,
      );
  }

  sorted() {
    const chosen = this.chosen();
    const found = this.calls.ranked().filter((call) => this.matches(call, chosen));
    const [, , , key, falling] = COLUMNS.find(([name]) => name === this.sort);
    if (this.sort !== "harm") {
      const missing = (value) => value === null || value === undefined;
      found.sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1);
      });
    }
    return this.turned ? found.reverse() : found;
  }

  // -- what is shown

  show() {
    const { about, lost } = this.calls;
    const done = about.all - about.waiting;
    this.sentence.textContent = lost || (about.listed ? about.sentence : "Looking which calls there are…");
    this.progress.hidden = !about.waiting;
    Object.assign(this.progress, { max: about.all || 1, value: done });
    const missing = Object.entries(about.missing).map(([name, why]) => element("li", {}, `${name}: ${why}`));
    this.problems.replaceChildren(...missing);
    const found = this.sorted();
    const all = this.calls.all.size;
    Object.assign(this.calls, { list: location.href, order: found.map(({ id }) => id) });
    const told = found.length < all ? `${found.length} of ${all} calls` : `${all} call${all === 1 ? "" : "s"}`;
    this.count.textContent = about.waiting ? `${told}; ${done} of ${about.all} looked at` : told;
    this.head.replaceChildren(...COLUMNS.map((column) => this.heading(column)));
    const rows = found.slice(0, this.shown).map((call) => this.row(call));
    const focused = this.body.contains(document.activeElement) && document.activeElement.closest("tr")?.dataset.id;
    this.body.replaceChildren(...rows);
    if (focused) this.body.querySelector(`tr[data-id="${focused}"] a`)?.focus({ preventScroll: true });
    this.more.hidden = found.length <= this.shown;
  }

  heading([name, text, title, , falling]) {
    const sorted = name === this.sort;
    const order = sorted ? (falling !== this.turned ? "descending" : "ascending") : "none";
    const arrow = { none: "", ascending: " ↑", descending: " ↓" }[order];
    const sort = () => {
      this.turned = sorted && !this.turned;
      this.sort = name;
      this.filter();
    };
    return element("th", { "aria-sort": order, class: `at-${name}` },
      element("button", { type: "button", title, onclick: sort }, text + arrow));
  }

  row(call) {
    const cell = (name, label, ...children) => element("td", { class: `at-${name}`, "data-label": label }, ...children);
    const link = element("a", { href: address(`call/${call.id}`) }, call.name);
    return element("tr", { "data-id": call.id, class: call.state },
      cell("harm", "harm", figure(call.harm)),
      cell("worst", "", ...this.worst(call)),
      cell("began", "began", moment(call.started_at)),
      cell("length", "length", clock(call.duration)),
      cell("holes", "holes/min", figure(call.holes_per_min, 1)),
      cell("answer", "answer (ms)", figure(call.answer_p50_ms)),
      cell("loss", "loss (%)", figure(call.loss_percent, 1)),
      cell("labels", "", ...chips(call.labels)),
      cell("name", "", link, " ",
        call.noted && element("span", { class: "chip", title: "Somebody wrote notes" }, "notes")));
  }

  worst(call) {
    if (call.state === "recording") return [element("span", { class: "tag live" }, "live"), " being recorded"];
    if (call.state === "waiting") return [element("span", { class: "quiet" }, "not looked at yet")];
    if (call.state === "broken") return [element("span", { class: "tag broken" }, "broken"), ` ${call.problem}`];
    if (!call.worst_kind) return [element("span", { class: "quiet" }, "nothing found")];
    const title = call.kinds.find(({ kind }) => kind === call.worst_kind)?.title ?? call.worst_kind;
    const worst = element("span", { class: "quiet" }, call.worst);
    return [tag(call.worst_severity), " ", element("b", {}, title), " ", worst];
  }

  go() { // the address has changed, not the page
    this.take();
    this.show();
  }

  close() { this.calls.listeners.delete(this.onCalls); }
}
