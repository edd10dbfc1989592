// A small table that follows sliders. Its first row is told to screen readers when it has changed.
import { createPlaces } from "./places.js";
import { createVoice, element, perFrame, piece } from "./shared.js";

function create(root) {
  const head = element("tr");
  const body = element("tbody");
  root.classList.add("live-table");
  root.append(element("table", {}, element("thead", {}, head), body));
  const request = perFrame(draw);
  const places = createPlaces(request);
  const voice = createVoice();
  let data = null;
  let first = null;

  function draw() {
    data.columns.forEach((place, column) => {
      for (const { cells, sectionRowIndex } of body.rows) {
        const text = places.value(place, sectionRowIndex);
        if (cells[column].textContent !== text) cells[column].textContent = text;
      }
    });
    tell();
  }

  function tell() {
    const row = data.headings.map((heading, i) => `${heading} ${body.rows[0]?.cells[i].textContent}`);
    const text = row.join(", ");
    if (first !== null && text !== first) voice.say(text);
    first = text;
  }

  return {
    update(component) {
      data = component.data;
      const { headings, rows } = data;
      head.replaceChildren(...headings.map((text) => element("th", { scope: "col", textContent: text })));
      if (body.rows.length !== rows || body.rows[0]?.cells.length !== headings.length) {
        body.replaceChildren(...Array.from({ length: rows }, () =>
          element("tr", {}, ...headings.map(() => element("td")))));
      }
      places.follow(data.columns);
      draw();
    },
    destroy() {
      places.destroy();
      request.cancel();
      voice.destroy();
    },
  };
}

export default (component) => piece(component, create);
