// The model of a widget whose other half is a process, not a kernel: what anywidget gives a widget's
// module, over a WebSocket (hosting.py says what goes over it).

import { address } from "./dom.js";

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

class Model {
  constructor(state, post) {
    this.state = state;
    this.post = post;
    this.heard = new Map();
    this.unsaved = new Set();
  }

  get(key) { return this.state[key]; }

  set(key, value) {
    this.unsaved.add(key);
    this.put({ [key]: value });
  }

  put(news) { // all of it is there before anybody hears of any
    const changed = Object.entries(news).filter(([key, value]) => (
      ArrayBuffer.isView(value) || !same(this.state[key], value)
    ));
    Object.assign(this.state, Object.fromEntries(changed));
    for (const [key] of changed) this.emit(`change:${key}`);
  }

  save_changes() {
    if (!this.unsaved.size) return;
    const state = Object.fromEntries([...this.unsaved].map((key) => [key, this.state[key]]));
    this.unsaved.clear();
    this.post({ method: "update", state, buffer_paths: [] });
  }

  send(content) { this.post({ method: "custom", content }); }

  on(name, act) { this.heard.set(name, [...(this.heard.get(name) ?? []), act]); }

  off(name, act) { this.heard.set(name, (this.heard.get(name) ?? []).filter((other) => other !== act)); }

  emit(name, ...values) { for (const act of this.heard.get(name) ?? []) act(...values); }
}

function unpacked(message) {
  const length = new DataView(message).getUint32(0, true);
  const { type, data, lengths } = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  let at = 4 + length;
  const buffers = lengths.map((size) => new DataView(message.slice(at, at += size)));
  return { type, data, buffers };
}

function filled({ state, buffer_paths: paths }, buffers) {
  paths.forEach((path, i) => {
    const last = path.at(-1);
    path.slice(0, -1).reduce((inner, key) => inner[key], state)[last] = buffers[i];
  });
  return state;
}

// Shows a call's timeline in an element, for as long as there is somebody at the other end.
export class Hosted {
  constructor(id, element, { begin = {}, onmodel = () => {}, onstatus = () => {}, onlost = () => {} }) {
    Object.assign(this, { id, element, begin, onmodel, onstatus, onlost });
    this.module = import(address("page/timeline.js"));
    const url = new URL(address(`call/${id}/timeline`));
    url.protocol = "ws:";
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.order = Promise.resolve(); // messages are taken one after the other, the module's loading too
    this.socket.addEventListener("message", ({ data }) => {
      const told = (error) => this.onstatus({ text: error.message });
      this.order = this.order.then(() => this.take(unpacked(data))).catch(told);
    });
    this.socket.addEventListener("close", ({ code }) => this.order.then(() => {
      if (!this.closed && code !== 4404) this.onlost();
    }));
  }

  async take({ type, data, buffers }) {
    if (this.closed) return;
    if (type === "status") this.onstatus(data);
    else if (type === "comm_open") this.open(filled(data, buffers));
    else if (type === "display") await this.show();
    else if (type === "comm_msg" && this.model) {
      if (data.method === "update") this.model.put(filled(data, buffers));
      else if (data.method === "custom") this.model.emit("msg:custom", data.content, buffers);
    }
  }

  open(state) {
    this.model = new Model(state, (data) => {
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(data));
    });
  }

  async show() { // once the widget has all of its state
    const { render } = (await this.module).default;
    if (this.closed) return;
    for (const [key, value] of Object.entries(this.begin)) this.model.set(key, value);
    this.onmodel(this.model);
    this.takeAway = render({ model: this.model, el: this.element });
  }

  close() {
    this.closed = true;
    this.takeAway?.();
    this.socket.close();
  }
}
