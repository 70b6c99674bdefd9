// Which calls there are, kept up to date: only what changed is asked for.

import { address, ask } from "./dom.js";

const BUSY = 700, CALM = 2000; // milliseconds between questions

export class Calls {
  constructor() {
    this.all = new Map();
    this.about = { waiting: 0, all: 0, missing: {}, sentence: "", listed: false };
    this.revision = -1;
    this.list = address(""); // the list as it was looked at last, and its order
    this.order = [];
    this.listeners = new Set();
    this.refresh();
  }

  async refresh() {
    let wait = CALM;
    try {
      const told = await ask(`calls?after=${this.revision}`);
      if (told.revision < this.revision) this.all.clear(); // another server than before
      const changed = told.revision !== this.revision || this.lost || told.listed !== this.about.listed;
      for (const call of told.calls) this.all.set(call.id, call);
      for (const id of told.gone) this.all.delete(id);
      this.revision = told.revision;
      this.about = told;
      this.lost = "";
      if (told.waiting || !told.listed) wait = BUSY;
      if (changed) this.tell();
    } catch (error) {
      if (!this.lost) {
        this.lost = "workbench view does not answer any more: start it again, and open the address that it prints.";
        this.tell();
      }
    }
    setTimeout(() => this.refresh(), wait);
  }

  tell() { for (const act of this.listeners) act(); }

  inOrder() { // as the list was looked at last
    const listed = this.order.map((id) => this.all.get(id)).filter(Boolean);
    return listed.length ? listed : this.ranked();
  }

  // Worst first, among equals the latest: those that are being recorded before all.
  ranked() {
    const live = (call) => (call.state === "recording" ? 1 : 0);
    return [...this.all.values()].sort((one, other) => (
      live(other) - live(one) || (other.harm ?? -1) - (one.harm ?? -1)
      || (other.started_at ?? "").localeCompare(one.started_at ?? "")
    ));
  }
}
