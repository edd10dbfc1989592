// Places in a text or a table that follow sliders: each has the values of one `Follow`, or of
// several, of which the one counts whose slider moved last.
import { readable, subscribe } from "./shared.js";

function floats(text) {
  return new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

export function createPlaces(draw) {
  const at = new Map(); // topics in the order in which they last moved
  let followed = "";
  let unsubscribe = [];

  // Of a place with several rows, the value in one of them.
  function value(place, row = 0) {
    const last = [...at.keys()].findLast((topic) => place.some(({ topics }) => topics.includes(topic)));
    const { topics, shape, values } = place.find((one) => one.topics.includes(last)) ?? place[0];
    const flat = topics.reduce((index, topic, i) =>
      index * shape[i] + Math.min(at.get(topic) ?? 0, shape[i] - 1), 0);
    const rows = shape[topics.length] ?? 1;
    const found = values[flat * rows + row] ?? "";
    return values instanceof Float32Array ? readable(found) : found;
  }

  function follow(places) {
    for (const one of places.flat()) if (one.floats) one.values ??= floats(one.floats);
    const topics = [...new Set(places.flat().flatMap((one) => one.topics))];
    const wanted = JSON.stringify(topics);
    if (wanted === followed) return;
    followed = wanted;
    unsubscribe.forEach((off) => off());
    at.clear();
    unsubscribe = topics.map((topic) => subscribe(topic, (index) => {
      at.delete(topic);
      at.set(topic, index);
      draw();
    }));
  }

  return { value, follow, destroy() { unsubscribe.forEach((off) => off()); } };
}
