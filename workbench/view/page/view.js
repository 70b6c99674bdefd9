// Which page is shown: the list, a call, or two. One document, so that going back is going back.

import { base } from "./dom.js";
import { CallPage } from "./call.js";
import { Calls } from "./calls.js";
import { ListPage } from "./list.js";
import { PairPage } from "./pair.js";

const main = document.getElementById("main");
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => { document.body.dataset.jpThemeLight = String(!dark.matches); };
dark.addEventListener("change", paint);
paint();

const calls = new Calls();
let page = null;

function route() {
  const [kind, ...ids] = location.pathname.slice(base.pathname.length).split("/");
  const wanted = kind === "call" ? ids.filter(Boolean) : [];
  const key = wanted.join("/");
  if (page?.key === key) page.go();
  else {
    page?.close();
    main.replaceChildren();
    const Page = [ListPage, CallPage, PairPage][wanted.length] ?? ListPage;
    page = new Page(main, calls, wanted, visit);
    page.key = key;
  }
}

function visit(url) {
  history.pushState(null, "", url);
  route();
}

addEventListener("popstate", route);
document.addEventListener("click", (event) => { // links of this page do not load it anew
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || link.hasAttribute("download")) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (!link.href.startsWith(base.href)) return;
  event.preventDefault();
  visit(link.href);
});
route();
