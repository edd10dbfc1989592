// How the stage's layers look. Every function takes a canvas context and the view (see `fit`) and
// draws in device pixels, so that lines lie on the pixel grid and stay crisp.
import { cellBox, toScreen } from "./stage_shape.js";

export const HIDDEN = 255; // category of a box that is not drawn
const NOTHING = 65535; // heat value of a pixel that is not drawn
const HALOS = 200; // more boxes than this are drawn without halos, which would merge
const MANY = 300; // more boxes than this may be paler
const CROWD = 1500; // above this many boxes lines are one pixel wide
const LABELS = 150;

const even = (length, ratio) => Math.max(1, Math.round(length * ratio));

function channels(colour) {
  const value = parseInt(colour.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

// Dark lines get a light halo and light ones a dark one, so that both show on any photo.
function halo(colour, style) {
  const [red, green, blue] = channels(colour);
  const light = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  return light < 0.5 ? style.light : style.dark;
}

function corners(view, x1, y1, x2, y2, shift) {
  const { ratio, sx, sy, left, top } = view;
  const x = Math.round((left + x1 * sx) * ratio);
  const y = Math.round((top + y1 * sy) * ratio);
  const right = Math.round((left + x2 * sx) * ratio);
  const bottom = Math.round((top + y2 * sy) * ratio);
  return [x + shift, y + shift, right - x - 2 * shift, bottom - y - 2 * shift];
}

// Outlines of a few boxes: all halos first, so that none covers a line. `items` are [box, colour].
export function outlines(ctx, view, items, { width = 1.5, dashed = false, fill = 0, style }) {
  const line = even(width, view.ratio);
  const edge = items.length > HALOS ? 0 : even(0.75, view.ratio);
  const rectangle = ([box]) => corners(view, ...box, line / 2);
  ctx.save();
  if (fill) {
    const strength = ctx.globalAlpha;
    ctx.globalAlpha = strength * fill;
    for (const item of items) {
      ctx.fillStyle = item[1];
      ctx.fillRect(...rectangle(item));
    }
    ctx.globalAlpha = strength;
  }
  ctx.setLineDash(dashed ? [5 * view.ratio, 4 * view.ratio] : []);
  ctx.lineWidth = line + 2 * edge;
  if (edge) for (const item of items) {
    ctx.strokeStyle = halo(item[1], style);
    ctx.strokeRect(...rectangle(item));
  }
  ctx.lineWidth = line;
  for (const item of items) {
    ctx.strokeStyle = item[1];
    ctx.strokeRect(...rectangle(item));
  }
  ctx.restore();
}

// Thousands of boxes, pixel by pixel: several times as fast as the canvas's own lines.
// Of two boxes on one pixel the earlier colour of the palette wins.
let sheet = null;

function crowd(ctx, view, layer, shown) {
  const { width, height } = ctx.canvas;
  if (sheet?.image.width !== width || sheet.image.height !== height) {
    const image = new ImageData(width, height);
    const canvas = new OffscreenCanvas(width, height);
    sheet = { image, canvas, pixels: new Uint32Array(image.data.buffer) };
  }
  const { pixels } = sheet;
  pixels.fill(0);
  const boxes = layer.arrays.boxes.data;
  const ax = view.sx * view.ratio;
  const ay = view.sy * view.ratio;
  const bx = view.left * view.ratio + 0.5;
  const by = view.top * view.ratio + 0.5;
  for (let kind = layer.palette.length - 1; kind >= 0; kind--) {
    const [red, green, blue] = channels(layer.palette[kind]);
    const colour = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    for (let box = 0, place = 0; box < shown.length; box++, place += 4) {
      if (shown[box] !== kind) continue;
      const x1 = Math.floor(ax * boxes[place] + bx);
      const y1 = Math.floor(ay * boxes[place + 1] + by);
      const x2 = Math.floor(ax * boxes[place + 2] + bx) - 1;
      const y2 = Math.floor(ay * boxes[place + 3] + by) - 1;
      const left = x1 < 0 ? 0 : x1;
      const right = x2 >= width ? width - 1 : x2;
      const top = y1 < 0 ? 0 : y1;
      const bottom = y2 >= height ? height - 1 : y2;
      if (left > right || top > bottom) continue;
      if (y1 === top) pixels.fill(colour, y1 * width + left, y1 * width + right + 1);
      if (y2 === bottom) pixels.fill(colour, y2 * width + left, y2 * width + right + 1);
      const end = bottom * width;
      if (x1 === left) for (let at = top * width; at <= end; at += width) pixels[at + x1] = colour;
      if (x2 === right) for (let at = top * width; at <= end; at += width) pixels[at + x2] = colour;
    }
  }
  const flat = sheet.canvas.getContext("2d");
  flat.putImageData(sheet.image, 0, 0);
  ctx.drawImage(sheet.canvas, 0, 0);
}

export function boxAt(layer, index) {
  return layer.arrays.boxes.data.subarray(4 * index, 4 * index + 4);
}

export function paintBoxes(ctx, view, layer, shown, style) {
  const visible = [];
  for (let box = 0; box < shown.length; box++) if (shown[box] !== HIDDEN) visible.push(box);
  ctx.save();
  ctx.globalAlpha = (visible.length > MANY ? layer.crowd_opacity : null) ?? layer.opacity;
  if (visible.length > CROWD) crowd(ctx, view, layer, shown);
  else {
    const items = visible.map((box) => [boxAt(layer, box), layer.palette[shown[box]]]);
    const { width, dashed, fill_opacity: fill } = layer;
    // The first colour of the palette lies on top.
    items.sort((a, b) => layer.palette.indexOf(b[1]) - layer.palette.indexOf(a[1]));
    outlines(ctx, view, items, { width, dashed, fill, style });
  }
  ctx.restore();
  if (layer.labels) paintBoxLabels(ctx, view, layer, visible, shown, style);
}

// ---------------------------------------------------------------- labels

// A text on a dark plate with its box's colour at the left; returns the plate, or null if `taken`
// already holds one there.
export function plate(ctx, view, text, [x, y], colour, taken, style) {
  const { ratio } = view;
  const height = 18 * ratio;
  ctx.font = `500 ${12 * ratio}px system-ui, "Noto Sans CJK SC", sans-serif`;
  const width = ctx.measureText(text).width + 13 * ratio;
  const left = Math.max(0, Math.min(Math.round(x * ratio), ctx.canvas.width - width));
  const top = Math.max(0, Math.min(Math.round(y * ratio), ctx.canvas.height - height));
  const hit = taken.some(([a, b, c, d]) => left < c && left + width > a && top < d && top + height > b);
  if (hit) return null;
  ctx.fillStyle = style.plate;
  ctx.beginPath();
  ctx.roundRect(left, top, width, height, 3 * ratio);
  ctx.fill();
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.roundRect(left, top, 4 * ratio, height, [3 * ratio, 0, 0, 3 * ratio]);
  ctx.fill();
  ctx.fillStyle = "#ffffff";
  ctx.textBaseline = "middle";
  ctx.fillText(text, left + 8 * ratio, top + height / 2 + 0.5 * ratio);
  taken.push([left, top, left + width, top + height]);
  return taken.at(-1);
}

// Above the box's corner; where there is no room, inside a tall box and below a flat one.
function corner(view, box) {
  const [x, y] = toScreen(view, box[0], box[1]);
  const bottom = toScreen(view, 0, box[3])[1];
  if (y >= 20) return [x - 1, y - 20];
  return bottom - y < 60 && bottom + 20 <= view.height ? [x - 1, bottom + 2] : [x + 3, y + 3];
}

function paintBoxLabels(ctx, view, layer, visible, shown, style) {
  const scores = layer.arrays.scores?.data;
  const order = scores ? visible.slice().sort((a, b) => scores[b] - scores[a]) : visible;
  const taken = [];
  for (const box of order.slice(0, 4 * LABELS)) {
    if (taken.length === LABELS) break;
    if (!layer.labels[box]) continue;
    plate(ctx, view, layer.labels[box], corner(view, boxAt(layer, box)),
      layer.palette[shown[box]], taken, style);
  }
}

// ---------------------------------------------------------------- heat maps

// What a pixel of the map holds, in the units of the layer, or null.
export function heatAt(layer, state, [x, y]) {
  const { data, shape } = layer.arrays.values;
  const [rows, columns] = shape.slice(-2);
  const [x1, y1, x2, y2] = layer.extent;
  const column = Math.floor(((x - x1) / (x2 - x1)) * columns);
  const row = Math.floor(((y - y1) / (y2 - y1)) * rows);
  if (column < 0 || row < 0 || column >= columns || row >= rows) return null;
  const value = data[(state * rows + row) * columns + column];
  return value === NOTHING ? null : layer.first + value * layer.step;
}

function heat(layer, state) {
  const values = layer.arrays.values;
  if (layer.heat?.state === state) return layer.heat.canvas;
  const [rows, columns] = values.shape.slice(-2);
  const image = new ImageData(columns, rows);
  const lut = layer.arrays.lut.data;
  const scale = 255.999 / (layer.high - layer.low);
  const offset = state * rows * columns;
  for (let at = 0; at < rows * columns; at++) {
    const value = values.data[offset + at];
    if (value === NOTHING) continue;
    const place = (layer.first + value * layer.step - layer.low) * scale;
    const colour = 3 * Math.floor(Math.min(Math.max(place, 0), 255));
    image.data.set([lut[colour], lut[colour + 1], lut[colour + 2], 255], 4 * at);
  }
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  layer.heat = { state, canvas };
  return canvas;
}

export function paintHeat(ctx, view, layer, state) {
  ctx.save();
  ctx.globalAlpha = layer.opacity;
  ctx.imageSmoothingEnabled = layer.smooth;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(heat(layer, state), ...corners(view, ...layer.extent, 0));
  ctx.restore();
}

// A map that nobody sees only answers to the pointer.
export const hasBar = ({ opacity, arrays: { lut } }) => lut && opacity > 0;

export function paintBar(ctx, layer, x, y, width, height) {
  const lut = layer.arrays.lut.data;
  for (let at = 0; at < width; at++) {
    const colour = 3 * Math.floor((at / width) * 256);
    ctx.fillStyle = `rgb(${lut[colour]} ${lut[colour + 1]} ${lut[colour + 2]})`;
    ctx.fillRect(x + at, y, 1, height);
  }
}

// ---------------------------------------------------------------- grid, points, cells

export function paintGrid(ctx, view, layer) {
  const line = even(1, view.ratio);
  const [x, y, width, height] = corners(view, ...layer.extent, 0);
  ctx.save();
  ctx.globalAlpha = layer.opacity;
  ctx.fillStyle = layer.colour;
  for (let row = 0; row <= layer.rows; row++) {
    ctx.fillRect(x, Math.round(y + (row / layer.rows) * (height - line)), width, line);
  }
  for (let column = 0; column <= layer.columns; column++) {
    ctx.fillRect(Math.round(x + (column / layer.columns) * (width - line)), y, line, height);
  }
  ctx.restore();
}

export function paintPoints(ctx, view, layer, style) {
  const xy = layer.arrays.xy.data;
  const taken = [];
  for (let point = 0; point < xy.length / 2; point++) {
    const [x, y] = toScreen(view, xy[2 * point], xy[2 * point + 1]);
    ctx.beginPath();
    ctx.arc(x * view.ratio, y * view.ratio, layer.radius * view.ratio, 0, 2 * Math.PI);
    ctx.fillStyle = layer.colour;
    ctx.strokeStyle = halo(layer.colour, style);
    ctx.lineWidth = even(1, view.ratio);
    ctx.fill();
    ctx.stroke();
    const text = layer.labels?.[point];
    if (text) plate(ctx, view, text, [x + layer.radius + 4, y - 9], layer.colour, taken, style);
  }
}

export function paintCell(ctx, view, grid, cell, pinned, style) {
  const item = [cellBox(grid, cell), pinned ? style.chosen : "#ffffff"];
  outlines(ctx, view, [item], { width: pinned ? 2 : 1.5, fill: grid.kind === "cells" ? 0.25 : 0, style });
}

// The first cell's boxes, moved to this one.
export function boxesOfCell(grid, cell) {
  const [left, top] = cellBox(grid, 0);
  const [x, y] = cellBox(grid, cell);
  return Array.from({ length: grid.arrays.boxes.shape[0] }, (_, place) =>
    boxAt(grid, place).map((at, axis) => at + (axis % 2 ? y - top : x - left)));
}

export function paintCellBoxes(ctx, view, grid, cell, style) {
  const items = boxesOfCell(grid, cell).map((box, place) => [box, grid.palette[place % grid.palette.length]]);
  outlines(ctx, view, items, { width: 1.5, style });
}

// ---------------------------------------------------------------- boxes drawn by the visitor

export const HANDLE = 9; // css pixels, side of a handle's square
export const CROSS = 9; // css pixels, radius of the small x

// Where the small x of a box stands: outside its upper right corner, but on the stage.
export function crossAt(view, box) {
  const [x, y] = toScreen(view, box[2], box[1]);
  return [Math.min(x + 15, view.width - CROSS - 1), Math.max(y - 15, CROSS + 1)];
}

export function paintDrawn(ctx, view, layer, boxes, selected, dashed, style) {
  const items = boxes.map((box) => [box, layer.colour]);
  outlines(ctx, view, items, { width: 2, fill: 0.08, dashed, style });
  const taken = [];
  boxes.forEach((box, index) => {
    const text = layer.labels?.[index];
    if (text) plate(ctx, view, text, corner(view, box), layer.colour, taken, style);
  });
  const chosen = boxes[selected];
  if (chosen) outlines(ctx, view, [[chosen, style.chosen]], { width: 2.5, fill: 0.12, style });
}

export function paintTools(ctx, view, box, handles, style) {
  const { ratio } = view;
  ctx.save();
  ctx.fillStyle = "#ffffff";
  ctx.strokeStyle = style.chosen;
  ctx.lineWidth = even(1.5, ratio);
  for (const [hx, hy] of handles) {
    const [x, y] = toScreen(view, box[0] + hx * (box[2] - box[0]), box[1] + hy * (box[3] - box[1]));
    const side = HANDLE * ratio;
    ctx.beginPath();
    ctx.roundRect(Math.round(x * ratio - side / 2), Math.round(y * ratio - side / 2), side, side, 2 * ratio);
    ctx.fill();
    ctx.stroke();
  }
  const [x, y] = crossAt(view, box).map((place) => place * ratio);
  const arm = 3.5 * ratio;
  ctx.beginPath();
  ctx.arc(x, y, CROSS * ratio, 0, 2 * Math.PI);
  ctx.fillStyle = style.plate;
  ctx.fill();
  ctx.beginPath();
  ctx.moveTo(x - arm, y - arm);
  ctx.lineTo(x + arm, y + arm);
  ctx.moveTo(x + arm, y - arm);
  ctx.lineTo(x - arm, y + arm);
  ctx.strokeStyle = "#ffffff";
  ctx.stroke();
  ctx.restore();
}
