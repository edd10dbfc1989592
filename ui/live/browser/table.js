// A small table that follows sliders. A change of its first row is told to screen readers.
import { createPlaces } from "./places.js";
import { element, perFrame, piece } from "./shared.js";

function create(root) {
  const head = element("tr");
  const body = element("tbody");
  root.classList.add("live-table");
  root.append(element("table", {}, element("thead", {}, head), body));
  const places = createPlaces(perFrame(draw));
  let data = null;

  function draw() {
    data.columns.forEach((place, column) => {
      for (const { cells, sectionRowIndex } of body.rows) {
        const text = places.value(place, sectionRowIndex);
        if (cells[column].textContent !== text) cells[column].textContent = text;
      }
    });
  }

  return {
    update(component) {
      data = component.data;
      const { headings, rows } = data;
      head.replaceChildren(...headings.map((text) => element("th", { scope: "col", textContent: text })));
      if (body.rows.length !== rows || body.rows[0]?.cells.length !== headings.length) {
        body.replaceChildren(...Array.from({ length: rows }, () =>
          element("tr", {}, ...headings.map(() => element("td")))));
        if (rows) body.rows[0].ariaLive = "polite";
      }
      places.follow(data.columns);
      draw();
    },
    destroy: places.destroy,
  };
}

export default (component) => piece(component, create);
