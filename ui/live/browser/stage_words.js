// What the stage says: hover tips and the lines for screen readers. The words come from Python.
import { heatAt } from "./stage_paint.js";

const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// Three significant digits, as plain as possible.
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size && (size < 1e-4 || size >= 1e6) ? value.toExponential(2) : plain.format(value);
  return text.replace("-", "−");
}

function tipText({ tip, arrays: { columns: { data, shape } } }, index) {
  const row = [...data.subarray(index * shape[1], (index + 1) * shape[1])];
  return row.some(Number.isFinite) ? fill(tip, row.map(number)) : "";
}

function boxText(stage, [name, index]) {
  const layer = stage.layer(name);
  return [layer.labels?.[index], layer.tip && tipText(layer, index)].filter(Boolean).join(" · ");
}

function cellText(stage, cell) {
  const { columns } = stage.grid;
  const [row, column] = [Math.floor(cell / columns) + 1, (cell % columns) + 1];
  return fill(stage.meta.strings.cell, { row, column });
}

function heatText(stage) {
  const values = stage.layers.map((layer) => {
    const state = layer.kind === "heat" ? stage.heatState(layer)
      : layer.kind === "patches" && stage.activeCell !== null ? stage.patchState(layer) : null;
    const value = state === null ? null : heatAt(layer, state, stage.pointer);
    return value === null ? "" : `${layer.label} ${number(value)}`.trim();
  });
  return values.filter(Boolean).join("\n");
}

// The tip for what is pointed at, or "".
export function describe(stage) {
  if (stage.overCross) return stage.meta.strings.delete;
  if (stage.hovered) return boxText(stage, stage.hovered);
  const cell = stage.cell === null ? "" : cellText(stage, stage.cell);
  return [cell, stage.pointer && heatText(stage)].filter(Boolean).join("\n");
}

export function drawnText(stage, index) {
  const [x1, y1, x2, y2] = stage.boxes[index].map(Math.round);
  const name = stage.drawn.labels?.[index] ?? "";
  const values = { name, index: index + 1, count: stage.boxes.length, x1, y1, x2, y2 };
  return fill(stage.meta.strings.box, values).trim();
}
