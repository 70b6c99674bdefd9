// Elements, and how times and figures are written. Text from a capture is a stranger's: it becomes
// text nodes and properties, never markup.

export function element(tag, about = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") node.setAttribute(name, value);
    else if (name.startsWith("data-")) node.dataset[name.slice(5)] = value;
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const base = new URL(document.baseURI);
export const address = (path) => new URL(path, base).href;

export async function ask(path) {
  const answer = await fetch(address(path));
  if (!answer.ok) throw new Error((await answer.text()) || `${answer.status}`);
  return answer.json();
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export function moment(text) { // in the time of whoever looks at it
  if (!text) return "";
  const when = new Date(text), two = (number) => String(number).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

export const figure = (value, digits = 0) => (value === null || value === undefined ? "" : value.toFixed(digits));

const MARKS = { error: "✕", warning: "▲", info: "●" };

export function tag(severity) {
  return element("span", { class: `tag ${severity}` }, `${MARKS[severity]} ${severity}`);
}

export function chips(labels) {
  return Object.entries(labels ?? {}).map(([name, value]) => (
    element("span", { class: "chip" }, element("span", { class: "quiet" }, `${name} `), value)
  ));
}

export function fields(hash = location.hash) { // what stands behind the # of an address
  return Object.fromEntries(new URLSearchParams(hash.slice(1)));
}

export function hash(told) {
  const wanted = Object.entries(told).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return wanted.length ? `#${new URLSearchParams(wanted)}` : "";
}
