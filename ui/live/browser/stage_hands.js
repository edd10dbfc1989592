// The stage's hands: mouse, pen, touch and keyboard. They change what the stage holds
// (pointer, cell, picks, boxes) and ask it to redraw and to report.
import { CROSS, HANDLE, crossAt } from "./stage_paint.js";
import { between, clamp, handlesOf, inside, moved, resized, toScreen } from "./stage_shape.js";
import { describe, drawnText } from "./stage_words.js";

const STILL = 4; // css pixels a press may wander and still be a click
const LEAST = 4; // photo pixels, the smallest side of a drawn box
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function hands(stage) {
  const { top } = stage;
  const handlers = {
    pointerdown: (event) => press(stage, event),
    pointermove: (event) => move(stage, event),
    pointerup: (event) => lift(stage, event),
    pointercancel: () => { drop(stage); leave(stage); },
    pointerleave: (event) => { if (event.pointerType !== "touch") leave(stage); },
    keydown: (event) => key(stage, event),
    blur: () => { if (stage.keyed) leave(stage); },
  };
  for (const [name, handler] of Object.entries(handlers)) top.addEventListener(name, handler);
  return () => {
    for (const [name, handler] of Object.entries(handlers)) top.removeEventListener(name, handler);
  };
}

// ---------------------------------------------------------------- pointer

const least = (stage) => stage.meta.size.map((side) => Math.min(LEAST, side));
const distance = ([x1, y1], [x2, y2]) => Math.hypot(x1 - x2, y1 - y2);

function leave(stage) {
  if (stage.drag) return;
  stage.forget();
  stage.refresh("top");
}

// What of the drawn boxes lies under the pointer: the small x, a handle, a box, or the ground.
function grip(stage, point, touch) {
  const { view, boxes, selected } = stage;
  const chosen = boxes[selected];
  const screen = toScreen(view, ...point);
  if (chosen) {
    if (distance(screen, crossAt(view, chosen)) <= CROSS + (touch ? 7 : 2)) return { cross: true };
    const reach = HANDLE / 2 + (touch ? 10 : 3);
    for (const handle of handlesOf(view, chosen)) {
      const at = toScreen(view, chosen[0] + handle[0] * (chosen[2] - chosen[0]),
        chosen[1] + handle[1] * (chosen[3] - chosen[1]));
      if (distance(screen, at) <= reach) return { index: selected, handle };
    }
    if (inside(chosen, point)) return { index: selected };
  }
  return { index: stage.smallestDrawn(point) };
}

function press(stage, event) {
  if (!event.isPrimary || event.button !== 0 || !stage.meta) return;
  const { top } = stage;
  const point = stage.at(event);
  top.setPointerCapture(event.pointerId);
  top.focus({ preventScroll: true });
  stage.keyed = false;
  stage.frame.classList.add("stage-by-hand");
  stage.drag = { from: point, start: [event.clientX, event.clientY], active: false };
  if (!stage.editing) return;
  event.preventDefault();
  const held = grip(stage, point, event.pointerType === "touch");
  if (!held.cross) stage.selected = held.index;
  Object.assign(stage.drag, held, { box: stage.boxes[held.index] });
  stage.refresh("top");
}

function move(stage, event) {
  if (!stage.meta || !event.isPrimary) return;
  const point = stage.at(event);
  const { drag } = stage;
  stage.pointer = point;
  stage.keyed = false;
  if (drag) {
    drag.wandered ||= distance(drag.start, [event.clientX, event.clientY]) > STILL;
    drag.active = drag.wandered && stage.editing && !drag.cross;
  }
  if (drag?.active) pull(stage, point);
  else hover(stage, point, event);
  stage.refresh("top");
}

function hover(stage, point, event) {
  if (event.pointerType === "touch") return;
  const held = stage.editing ? grip(stage, point, false) : {};
  stage.seek();
  const layer = stage.hovered && stage.layer(stage.hovered[0]);
  stage.overCross = Boolean(held.cross);
  stage.top.style.cursor = held.cross ? "pointer"
    : held.handle ? `${held.handle[2]}-resize`
    : Number.isInteger(held.index) ? "move"
    : layer?.pickable || (stage.grid && stage.cell !== null) ? "pointer"
    : stage.editing ? "crosshair" : "default";
}

// Carries the drag on: a new box, a moved one or a resized one.
function pull(stage, point) {
  const { drag, boxes, meta } = stage;
  const by = [point[0] - drag.from[0], point[1] - drag.from[1]];
  if (!drag.box) {
    if (drag.drawing === undefined) {
      if (boxes.length >= meta.most_boxes) return;
      drag.drawing = boxes.length;
    }
    boxes[drag.drawing] = between(drag.from, point, meta.size);
    stage.selected = drag.drawing;
  } else if (drag.handle) {
    boxes[drag.index] = resized(drag.box, drag.handle, by, meta.size, least(stage));
  } else boxes[drag.index] = moved(drag.box, by, meta.size);
  if (stage.drawn.live && bigEnough(stage, stage.selected)) stage.report();
}

function bigEnough(stage, index) {
  const box = stage.boxes[index];
  const [width, height] = least(stage);
  return Boolean(box) && box[2] - box[0] >= width && box[3] - box[1] >= height;
}

function lift(stage, event) {
  const { drag } = stage;
  if (!drag || !event.isPrimary) return;
  stage.drag = null;
  if (drag.active) settle(stage, drag);
  else if (drag.wandered) return;
  else if (drag.cross) remove(stage);
  else click(stage, stage.at(event), drag);
  stage.refresh("top");
}

function settle(stage, drag) {
  if (drag.drawing === undefined && !drag.box) return;
  if (!bigEnough(stage, stage.selected)) {
    stage.boxes.splice(stage.selected, 1);
    stage.selected = null;
    if (!stage.drawn.live) return;
  }
  stage.report();
}

function drop(stage) {
  const { drag } = stage;
  stage.drag = null;
  if (!drag?.active) return;
  if (drag.box) stage.boxes[drag.index] = drag.box;
  else if (drag.drawing !== undefined) {
    stage.boxes.splice(drag.drawing, 1);
    stage.selected = null;
  }
  if (stage.drawn.live) stage.report();
  stage.refresh("top");
}

function click(stage, point, drag) {
  stage.pointer = point;
  stage.seek();
  if (!drag.box) choose(stage);
}

// Picks the box that is pointed at, or pins the cell; a second time lets it go again.
function choose(stage) {
  const { hovered, cell, picked } = stage;
  if (hovered && stage.layer(hovered[0]).pickable) {
    stage.picked = String(picked) === String(hovered) ? null : hovered;
  } else if (cell !== null) stage.pin(stage.pinned === cell ? null : cell);
  else if (picked) stage.picked = null;
  else return;
  stage.report();
}

function remove(stage) {
  stage.boxes.splice(stage.selected, 1);
  stage.selected = null;
  stage.overCross = false;
  stage.report();
}

// ---------------------------------------------------------------- keyboard

function key(stage, event) {
  if (!stage.meta || stage.drag || event.ctrlKey || event.metaKey) return;
  stage.frame.classList.remove("stage-by-hand");
  if (!(stage.editing && keyDrawn(stage, event)) && !keyLook(stage, event)) return;
  event.preventDefault();
  stage.refresh("top");
}

// Keys of the drawn boxes; returns whether the key was one of them.
function keyDrawn(stage, event) {
  const { boxes, selected, meta } = stage;
  const [width, height] = meta.size;
  if (event.key === "Tab") return nextDrawn(stage, event.shiftKey ? -1 : 1);
  if (event.key === "+" || (event.key === "Enter" && !stage.grid && selected === null)) {
    if (boxes.length >= meta.most_boxes) return true;
    boxes.push([width / 3, height / 3, (2 * width) / 3, (2 * height) / 3]);
    stage.selected = boxes.length - 1;
  } else if (selected === null) return false;
  else if (event.key === "Escape") {
    stage.selected = null;
    return true;
  } else if (event.key === "Delete" || event.key === "Backspace") {
    remove(stage);
    stage.say(meta.strings.deleted);
    return true;
  } else if (ARROWS[event.key]) {
    const by = ARROWS[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
    boxes[selected] = event.altKey ? resized(boxes[selected], [1, 1], by, meta.size, least(stage))
      : moved(boxes[selected], by, meta.size);
  } else return false;
  stage.say(drawnText(stage, stage.selected));
  stage.report();
  return true;
}

// Tab goes from box to box and, after the last, on through the page.
function nextDrawn(stage, step) {
  const { boxes, selected } = stage;
  const next = selected === null ? (step > 0 ? 0 : boxes.length - 1) : selected + step;
  stage.selected = boxes[next] ? next : null;
  stage.refresh("top");
  if (stage.selected === null) return false;
  stage.say(drawnText(stage, next));
  return true;
}

// Keys that look around: from cell to cell, or from box to box where there are no cells.
function keyLook(stage, event) {
  const arrow = ARROWS[event.key];
  if (arrow && (stage.grid ? stepCell(stage, arrow) : stepBox(stage, arrow[0] + arrow[1]))) {
    stage.keyed = true;
    stage.pointer = null;
    stage.say(describe(stage));
    return true;
  }
  if (event.key === "Escape" && stage.keyed) {
    stage.forget();
    return true;
  }
  if ((event.key === "Enter" || event.key === " ") && (stage.hovered || stage.cell !== null)) {
    choose(stage);
    return true;
  }
  return false;
}

function stepCell(stage, [right, down]) {
  const { rows, columns } = stage.grid;
  const middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
  const start = stage.cell ?? stage.pinned;
  const row = start === null ? 0 : clamp(Math.floor(start / columns) + down, 0, rows - 1);
  const column = start === null ? 0 : clamp((start % columns) + right, 0, columns - 1);
  stage.cell = start === null ? middle : row * columns + column;
  stage.hovered = null;
  return true;
}

function stepBox(stage, step) {
  const layer = stage.layers.find((one) => one.hover);
  if (!layer) return false;
  const count = stage.shown(layer).length;
  let index = stage.hovered?.[0] === layer.name ? stage.hovered[1] : step > 0 ? -1 : count;
  do index += step; while (index >= 0 && index < count && !stage.canHover(layer, index));
  if (index >= 0 && index < count) stage.hovered = [layer.name, index];
  return stage.hovered !== null;
}
