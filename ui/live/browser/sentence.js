// One sentence with live numbers. Its places follow sliders; a pinned copy stays below.
import { element, piece, subscribe } from "./shared.js";

function marked(text) {
  return text.split("**").map((part, i) =>
    (i % 2 ? element("strong", { textContent: part }) : document.createTextNode(part)));
}

function create(root) {
  const now = element("p", { ariaLive: "polite" });
  const before = element("p", { className: "live-pinned", hidden: true });
  root.classList.add("live-sentence");
  root.append(now, before);
  const at = new Map();
  let data = null;
  let followed = "";
  let unsubscribe = [];
  let shown = null;

  function value({ topics, shape, values }) {
    const flat = topics.reduce((index, topic, i) =>
      index * shape[i] + Math.min(at.get(topic) ?? 0, shape[i] - 1), 0);
    return values[flat] ?? "";
  }

  function text() {
    return data.text.replace(/\{(\w+)\}/g, (whole, name) =>
      (name in data.places ? value(data.places[name]) : whole));
  }

  function draw() {
    const next = text();
    if (next === shown) return;
    shown = next;
    now.replaceChildren(...marked(shown));
  }

  function follow() {
    const topics = [...new Set(Object.values(data.places).flatMap((place) => place.topics))];
    const wanted = JSON.stringify([data.step, ...topics]);
    if (wanted === followed) return;
    followed = wanted;
    unsubscribe.forEach((off) => off());
    unsubscribe = topics.map((topic) => subscribe(topic, (index) => { at.set(topic, index); draw(); }));
    unsubscribe.push(subscribe(`pin:${data.step}`, ({ pinned }) => {
      before.hidden = !pinned;
      if (pinned) before.replaceChildren(`${data.pinned}: `, ...marked(text()));
    }));
  }

  return {
    update(component) {
      data = component.data;
      follow();
      draw();
    },
    destroy() { unsubscribe.forEach((off) => off()); },
  };
}

export default (component) => piece(component, create);
