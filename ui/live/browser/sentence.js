// One sentence with live numbers. Its places follow sliders; a pinned copy stays below.
import { createPlaces } from "./places.js";
import { createVoice, element, piece, subscribe } from "./shared.js";

function marked(text) {
  return text.split("**").map((part, i) =>
    (i % 2 ? element("strong", { textContent: part }) : document.createTextNode(part)));
}

function create(root) {
  const now = element("p");
  const before = element("p", { className: "live-pinned", hidden: true });
  root.classList.add("live-sentence");
  root.append(now, before);
  const places = createPlaces(draw);
  const voice = createVoice();
  let data = null;
  let followed = null;
  let unfollow = null;
  let shown = null;

  function text() {
    return data.text.replace(/\{(\w+)\}/g, (whole, name) =>
      (name in data.places ? places.value(data.places[name]) : whole));
  }

  function draw() {
    const next = text();
    if (next === shown) return;
    if (shown !== null) voice.say(next.replaceAll("**", ""));
    shown = next;
    now.replaceChildren(...marked(shown));
  }

  function follow() {
    places.follow(Object.values(data.places));
    if (followed === data.step) return;
    followed = data.step;
    unfollow?.();
    unfollow = subscribe(`pin:${data.step}`, ({ pinned }) => {
      before.hidden = !pinned;
      if (pinned) before.replaceChildren(`${data.pinned}: `, ...marked(text()));
    });
  }

  return {
    update(component) {
      data = component.data;
      follow();
      draw();
    },
    destroy() {
      places.destroy();
      voice.destroy();
      unfollow?.();
    },
  };
}

export default (component) => piece(component, create);
