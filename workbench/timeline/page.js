// What every widget here is built with: elements, and questions to the kernel.

const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

function clock(seconds, digits = 2) {
  const unit = 10 ** digits;
  const whole = Math.round(Math.max(0, seconds) * unit);
  const rest = ((whole % (60 * unit)) / unit).toFixed(digits);
  const minutes = Math.floor(whole / (60 * unit));
  const padded = rest.padStart(digits ? digits + 3 : 2, "0");
  if (minutes < 60) return `${minutes}:${padded}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${padded}`;
}

function make(tag, name, ...children) {
  const node = document.createElement(tag);
  if (name) node.className = name.split(" ").map((word) => `wb-tl-${word}`).join(" ");
  node.append(...children); // strings become text nodes
  // What may have the focus keeps its keys: B would add a cell. JupyterLab's shortcuts look for this
  // on the very element, and Notebook's come before any listener here.
  if (["button", "input", "select", "summary"].includes(tag) || name === "stage") {
    node.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  return node;
}

function button(text, title, act) {
  const node = make("button", "", text);
  node.type = "button";
  node.title = title;
  node.addEventListener("click", act);
  return node;
}

const press = (node, on) => node.setAttribute("aria-pressed", String(on));

// The kernel: each question is answered under its number.

class Kernel {
  constructor(model) {
    this.model = model;
    this.prefix = Math.random().toString(36).slice(2); // a widget may be shown twice
    this.count = 0;
    this.waiting = new Map();
    this.onMessage = (reply, buffers) => {
      const settle = this.waiting.get(reply.ask);
      if (!settle) return;
      this.waiting.delete(reply.ask);
      if (reply.error) settle.reject(new Error(reply.error));
      else settle.resolve({ reply, buffers });
    };
    model.on("msg:custom", this.onMessage);
  }

  ask(kind, question = {}) {
    const ask = `${this.prefix}-${++this.count}`; // "id" would be kept for ever by ipykernel 7.4
    return new Promise((resolve, reject) => {
      this.waiting.set(ask, { resolve, reject });
      this.model.send({ ask, kind, ...question });
    });
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
    this.waiting.clear();
  }
}
