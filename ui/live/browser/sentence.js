// One sentence with live numbers. Follows a slider's position, keeps a pinned copy below.
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
  let data = null;
  let index = 0;
  let unsubscribe = [];
  let shown = null;

  function text() {
    return data.texts[Math.min(index, data.texts.length - 1)] ?? "";
  }

  function draw() {
    if (text() === shown) return;
    shown = text();
    now.replaceChildren(...marked(shown));
  }

  return {
    update(component) {
      const followed = data && data.topic === component.data.topic && data.step === component.data.step;
      data = component.data;
      if (!followed) {
        unsubscribe.forEach((off) => off());
        unsubscribe = [];
        if (data.topic) {
          unsubscribe.push(subscribe(data.topic, (position) => { index = position; draw(); }));
        }
        unsubscribe.push(subscribe(`pin:${data.step}`, ({ pinned }) => {
          before.hidden = !pinned;
          if (pinned) before.replaceChildren(`${data.pinned}: `, ...marked(text()));
        }));
      }
      draw();
    },
    destroy() { unsubscribe.forEach((off) => off()); },
  };
}

export default (component) => piece(component, create);
