// Places in a text or a table that follow sliders: each has the values of one `Follow`, or of
// several, of which the one counts whose slider moved last.
import { subscribe } from "./shared.js";

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
    return values[flat * rows + row] ?? "";
  }

  function follow(places) {
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
