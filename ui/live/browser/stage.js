// The stage: a photo under layers. Four canvases lie on top of one another, so that each is drawn
// only when its own content changes: photo, ghost (what was pinned), layers, and what follows the
// pointer. The hands (pointer and keyboard) are in stage_hands.js, the drawing in stage_paint.js.
import { element, onReconnect, perFrame, piece, publish, subscribe, theme, unpack } from "./shared.js";
import { hands } from "./stage_hands.js";
import * as paint from "./stage_paint.js";
import { savePicture } from "./stage_picture.js";
import {
  area, cellAt, cellBox, clamp, fit, handlesOf, inside, middle, nearestCell, toPhoto, toScreen,
} from "./stage_shape.js";
import { describe, number } from "./stage_words.js";

const PATIENCE = 5000; // ms after which a report without an answer counts as lost

const sheet = new URL("stage.css", import.meta.url).href;
if (!document.querySelector(`link[href="${sheet}"]`)) {
  document.head.append(element("link", { rel: "stylesheet", href: sheet }));
}

class Stage {
  constructor(root) {
    const canvas = (name) => element("canvas", { className: `stage-${name}`, "aria-hidden": "true" });
    this.canvases = { photo: canvas("photo"), ghost: canvas("ghost"), scene: canvas("scene") };
    this.top = element("canvas", { className: "stage-top", tabIndex: 0 });
    this.tip = element("div", { className: "stage-tip", hidden: true });
    this.frame = element("div", { className: "stage-frame" }, ...Object.values(this.canvases), this.top);
    this.bars = element("div", { className: "stage-bars" });
    this.hint = element("p", { className: "stage-hint" });
    this.keys = element("p", { className: "live-spoken", id: `stage-keys-${++Stage.count}` });
    this.spoken = element("div", { className: "live-spoken", role: "status", "aria-live": "polite" });
    root.classList.add("stage");
    this.frame.append(this.tip);
    root.append(this.frame, this.bars, this.hint, this.keys, this.spoken);
    this.top.setAttribute("aria-describedby", this.keys.id);

    this.layers = [];
    this.stale = new Set();
    this.following = [];
    this.boxes = [];
    this.selected = null;
    this.picked = null;
    this.pinned = null;
    this.pinnedAt = null; // the middle of that cell, in photo pixels
    this.along = new Map(); // where the sliders stand that lead through the map shown
    this.moved = null; // the one of them that moved last, later than what is pointed at
    this.told = null;
    this.forget();
    this.serial = 0;
    this.answered = 0;
    this.sentAt = 0;
    this.request = perFrame(() => this.draw());
    this.letGo = hands(this);
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(root);
    this.relayout = () => this.layout();
    addEventListener("resize", this.relayout);
    this.ignoreReconnect = onReconnect(() => this.reportAgain());
    Object.defineProperty(this.top, "__stage", { get: () => this.debug() });
  }

  destroy() {
    this.cancel?.();
    this.newest = null; // a photo that is still being decoded comes too late
    this.ignoreReconnect();
    this.letGo();
    this.watch.disconnect();
    removeEventListener("resize", this.relayout);
    this.unfollow();
    this.request.cancel();
    clearTimeout(this.timer);
    clearTimeout(this.speaking);
    clearTimeout(this.telling);
    this.picture?.close();
  }

  // ---------------------------------------------------------------- from Python

  update(component) {
    this.send = (state) => component.setStateValue("stage", state);
    this.cancel?.();
    this.cancel = unpack(component.data, (packed) => this.receive(packed));
  }

  async receive({ meta, arrays }) {
    this.newest = meta;
    this.answered = meta.ack;
    this.flush();
    if (meta.photo !== this.meta?.photo) {
      // The old photo stays, under its own layers, until the new one can be shown with its own.
      const picture = meta.photo && (await decode(arrays.photo.data));
      if (this.newest !== meta) {
        picture?.close();
        return;
      }
      this.picture?.close();
      this.picture = picture;
    }
    this.adopt(meta, arrays);
  }

  adopt(meta, arrays) {
    const before = this.meta;
    this.meta = meta;
    const points = this.grid?.points_at;
    const other = before && (before.photo !== meta.photo || String(before.size) !== String(meta.size));
    if (!before) this.serial = meta.ack;
    if (other) this.ghost = null;
    if (before?.revision !== meta.revision) this.restore(meta.state);
    this.layers = meta.layers.map((layer) => ({ ...layer, row: 0, at: {}, arrays: own(arrays, layer.name) }));
    this.grid = this.layers.find(({ kind }) => kind === "cells" || kind === "patches");
    this.drawn = this.layers.find(({ kind }) => kind === "drawn");
    this.editing = this.drawn?.editable ?? false;
    const cells = this.grid ? this.grid.rows * this.grid.columns : 0;
    if (other || this.cell >= cells) this.forget();
    this.keepPinned(cells);
    if (this.grid?.points_at !== points) this.told = null;
    this.style = { ...meta.colours, ...theme(this.root) };
    this.follow();
    this.furnish();
    this.layout();
    this.refresh("photo", "ghost", "scene", "top");
  }

  // Python's boxes and picks replace the visitor's: at the start and whenever the revision changes.
  restore({ picked, cell, boxes }) {
    this.drag = null;
    this.boxes = boxes.map((box) => [...box]);
    this.picked = picked;
    this.pinned = cell;
    this.pinnedAt = null;
    this.selected = null;
    this.unsent = false;
  }

  pin(cell) {
    this.pinned = cell;
    this.pinnedAt = cell === null ? null : middle(cellBox(this.grid, cell));
  }

  // In another grid that cell is pinned which lies where the pinned one was.
  keepPinned(cells) {
    if (this.pinnedAt && this.grid?.kind === "cells") this.pinned = nearestCell(this.grid, this.pinnedAt);
    else if (this.pinned >= cells) this.pin(null);
    else if (this.grid) this.pin(this.pinned);
  }

  forget() {
    this.pointer = null;
    this.hovered = null;
    this.cell = null;
    this.overCross = false;
    this.keyed = false; // whether the keyboard, not the pointer, chose what is highlighted
  }

  follow() {
    this.unfollow();
    const listen = (topic, react) => topic && this.following.push(subscribe(topic, react));
    for (const layer of this.layers) {
      listen(layer.slider, (index) => { layer.row = index; this.refresh("scene", "top"); });
      for (const topic of new Set([...layer.score_from ?? [], ...layer.score_below ?? []])) {
        listen(topic, (index) => { layer.at[topic] = index; this.refresh("scene", "top"); });
      }
      for (const topic of Object.keys(layer.along ?? {})) {
        listen(topic, (index) => this.goAlong(topic, index));
      }
    }
    if (!this.meta.step) return;
    listen(`png:${this.meta.step}`, ({ name }) => savePicture(this, name));
    listen(`pin:${this.meta.step}`, ({ pinned }) => {
      this.ghost = pinned ? this.frozen() : null;
      this.refresh("ghost");
    });
  }

  // A slider leads through the maps of the patch in question; what was pointed at is left.
  goAlong(topic, index) {
    const before = this.along.get(topic);
    this.along.set(topic, index);
    if (before === undefined || before === index) return;
    this.moved = topic;
    this.forget();
    this.told = this.activeCell;
    this.refresh("top");
  }

  // Tells other pieces whose map is shown, when the frame is out: theirs take longer.
  tell() {
    const { points_at: topic } = this.grid ?? {};
    if (!topic || this.activeCell === null || this.activeCell === this.told) return;
    this.told = this.activeCell;
    this.moved = null;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => publish(topic, this.told));
  }

  unfollow() {
    for (const stop of this.following.splice(0)) stop();
  }

  // What stands around the canvases: names, hint, colour bars.
  furnish() {
    const { meta, top } = this;
    const touchable = this.grid || this.editing || this.layers.some((layer) => layer.hover);
    top.setAttribute("role", touchable ? "application" : "img");
    top.setAttribute("aria-label", meta.label);
    top.style.touchAction = this.editing ? "none" : "pan-y pinch-zoom";
    const keys = [this.grid && "keys_cells", this.editing && "keys_drawn",
      !this.grid && !this.editing && touchable && "keys_boxes"];
    this.keys.textContent = keys.filter(Boolean).map((name) => meta.strings[name]).join(" ");
    this.hint.textContent = this.layers.map((layer) => layer.hint).filter(Boolean).join(" ");
    this.hint.hidden = !this.hint.textContent;
    this.bars.replaceChildren(...this.layers.filter(paint.hasBar).map((layer) => {
      const bar = element("canvas", { width: 256, height: 1, "aria-hidden": "true" });
      paint.paintBar(bar.getContext("2d"), layer, 0, 0, 256, 1);
      const text = (value, name) => element("span", { className: name, textContent: value });
      return element("div", { className: "stage-bar" }, text(layer.label, "stage-unit"),
        text(number(layer.low), ""), bar, text(number(layer.high), ""));
    }));
  }

  // ---------------------------------------------------------------- to Python

  report() {
    this.unsent = true;
    this.flush();
  }

  // One report is in flight at a time; the newest state follows when Python has answered.
  flush() {
    if (!this.unsent) return;
    clearTimeout(this.timer);
    const waited = performance.now() - this.sentAt;
    if (this.serial > this.answered && waited < PATIENCE) {
      this.timer = setTimeout(() => this.flush(), PATIENCE - waited + 1);
      return;
    }
    this.unsent = false;
    this.sentAt = performance.now();
    this.send({
      serial: ++this.serial,
      revision: this.meta.revision,
      picked: this.picked,
      cell: this.pinned,
      at: this.pinnedAt,
      boxes: this.boxes.map((box) => box.map((place) => Math.round(place * 100) / 100)),
    });
  }

  // What was in flight when the connection broke may never have arrived.
  reportAgain() {
    if (this.serial === this.answered) return;
    this.answered = this.serial;
    this.report();
  }

  // ---------------------------------------------------------------- what is where

  // The colour of every box in the state shown; 255 for those that are not.
  shown(layer) {
    const count = layer.arrays.boxes.data.length / 4;
    const { category, scores } = layer.arrays;
    const rows = category ? category.data.length / count : 1;
    const row = place(layer.row, rows);
    const least = lowest(layer, "score_from", -Infinity);
    const limit = lowest(layer, "score_below", Infinity);
    const { memo } = layer;
    if (memo?.row === row && memo.least === least && memo.limit === limit) return memo.shown;
    let shown = category?.data.subarray(row * count, (row + 1) * count) ?? new Uint8Array(count);
    if (least > -Infinity || limit < Infinity) {
      shown = shown.map((colour, box) =>
        (scores.data[box] >= least && scores.data[box] < limit ? colour : paint.HIDDEN));
    }
    layer.memo = { row, least, limit, shown };
    return shown;
  }

  heatState(layer) {
    return place(layer.row, layer.arrays.values.shape.length === 3 ? layer.arrays.values.shape[0] : 1);
  }

  // The map of the patch that is pointed at, in the state that a slider has picked.
  patchState(layer) {
    if (this.moved in layer.along) {
      const [first, count] = layer.along[this.moved];
      return first + place(this.along.get(this.moved), count);
    }
    const cells = layer.rows * layer.columns;
    return place(layer.row, layer.states / cells) * cells + this.activeCell;
  }

  get activeCell() {
    const [first, second] = this.grid?.points_at ? [this.cell, this.pinned] : [this.pinned, this.cell];
    return first ?? second ?? this.grid?.cell ?? null;
  }

  layer(name) {
    return this.layers.find((layer) => layer.name === name);
  }

  // Finds what lies under the pointer, or checks that what the keyboard chose is still there.
  seek() {
    if (this.keyed) {
      const layer = this.hovered && this.layer(this.hovered[0]);
      if (this.hovered && !this.canHover(layer, this.hovered[1])) this.hovered = null;
      return;
    }
    this.hovered = this.pointer && this.smallestBox(this.pointer);
    this.cell = this.pointer && this.grid ? cellAt(this.grid, this.pointer) : null;
  }

  canHover(layer, index) {
    return Boolean(layer?.hover) && (this.shown(layer)[index] ?? paint.HIDDEN) !== paint.HIDDEN;
  }

  smallestBox([x, y]) {
    const reach = 3; // css pixels beyond the edge
    const dx = reach / this.view.sx;
    const dy = reach / this.view.sy;
    let best = null;
    let least = Infinity;
    for (const layer of this.layers) {
      if (!layer.hover) continue;
      const boxes = layer.arrays.boxes.data;
      const shown = this.shown(layer);
      for (let box = 0, at = 0; box < shown.length; box++, at += 4) {
        if (shown[box] === paint.HIDDEN || x < boxes[at] - dx || y < boxes[at + 1] - dy
          || x > boxes[at + 2] + dx || y > boxes[at + 3] + dy) continue;
        const size = (boxes[at + 2] - boxes[at]) * (boxes[at + 3] - boxes[at + 1]);
        if (size < least) {
          least = size;
          best = [layer.name, box];
        }
      }
    }
    return best;
  }

  smallestDrawn(point) {
    const slack = [4 / this.view.sx, 4 / this.view.sy];
    const found = this.boxes.map((box, index) => ({ box, index })).filter(({ box }) => inside(box, point, slack));
    return found.sort((a, b) => area(a.box) - area(b.box))[0]?.index ?? null;
  }

  // ---------------------------------------------------------------- words

  // Says a line to a screen reader, the newest at most four times a second.
  say(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => { this.spoken.textContent = text; }, 250);
  }

  // ---------------------------------------------------------------- drawing

  layout() {
    const room = this.root.clientWidth;
    if (!this.meta || !room) return;
    const tallest = this.meta.height ?? Math.max(320, 0.85 * innerHeight);
    const view = fit(this.meta.size, this.meta.margin, room, tallest, devicePixelRatio);
    if (JSON.stringify(view) === JSON.stringify(this.view)) return;
    this.view = view;
    this.frame.style.width = `${view.width}px`;
    this.frame.style.height = `${view.height}px`;
    for (const canvas of [...Object.values(this.canvases), this.top]) {
      canvas.width = Math.round(view.width * view.ratio);
      canvas.height = Math.round(view.height * view.ratio);
    }
    for (const name of ["photo", "ghost", "scene", "top"]) this.stale.add(name);
    // A resized canvas is empty: draw before the browser shows it.
    this.draw();
  }

  refresh(...names) {
    for (const name of names) this.stale.add(name);
    this.request();
  }

  draw() {
    if (!this.view || !this.stale.size) return;
    const { photo, ghost, scene } = this.canvases;
    if (this.stale.has("photo")) this.paintPhoto(clear(photo), this.view);
    if (this.stale.has("ghost")) {
      ghost.hidden = !this.ghost;
      this.paintGhost(clear(ghost), this.view);
    }
    if (this.stale.has("scene")) this.paintScene(clear(scene), this.view);
    if (this.stale.has("top")) {
      if (!this.drag?.active) this.seek();
      this.tell();
      const ctx = clear(this.top);
      this.paintTop(ctx, this.view);
      if (this.editing && this.boxes[this.selected]) {
        const box = this.boxes[this.selected];
        paint.paintTools(ctx, this.view, box, handlesOf(this.view, box), this.style);
      }
      this.showTip();
    }
    this.stale.clear();
    const frames = (window.__stageFrames ??= []);
    frames.push(performance.now());
    if (frames.length > 2000) frames.shift();
  }

  paintPhoto(ctx, view) {
    const { ratio, left, top, sx, sy } = view;
    const [width, height] = this.meta.size;
    ctx.fillStyle = this.style.panel;
    ctx.fillRect(0, 0, ctx.canvas.width, ctx.canvas.height);
    if (!this.picture) return;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(this.picture, left * ratio, top * ratio, width * sx * ratio, height * sy * ratio);
  }

  paintScene(ctx, view) {
    const { style } = this;
    for (const layer of this.layers) {
      if (layer.kind === "heat") paint.paintHeat(ctx, view, layer, this.heatState(layer));
      if (layer.kind === "boxes") paint.paintBoxes(ctx, view, layer, this.shown(layer), style);
      if (layer.kind === "grid") paint.paintGrid(ctx, view, layer);
      if (layer.kind === "points") paint.paintPoints(ctx, view, layer, style);
    }
  }

  paintTop(ctx, view) {
    const { grid, style, activeCell: cell } = this;
    if (grid && cell !== null) {
      if (grid.kind === "patches") paint.paintHeat(ctx, view, grid, this.patchState(grid));
      else paint.paintCellBoxes(ctx, view, grid, cell, style);
    }
    for (const one of new Set([this.pinned ?? cell, this.cell ?? cell, cell])) {
      if (grid && one !== null) paint.paintCell(ctx, view, grid, one, one === this.pinned, style);
    }
    this.highlight(ctx, view, this.picked, { width: 3, fill: 0.12 }, style.chosen);
    this.highlight(ctx, view, this.hovered, { width: 2.5, fill: 0.16 });
    if (this.drawn) {
      paint.paintDrawn(ctx, view, this.drawn, this.boxes, this.selected, false, style);
    }
  }

  highlight(ctx, view, place, look, colour) {
    const layer = place && this.layer(place[0]);
    if (layer?.kind !== "boxes") return;
    const kind = this.shown(layer)[place[1]] ?? paint.HIDDEN;
    if (kind === paint.HIDDEN) return;
    const item = [paint.boxAt(layer, place[1]), colour ?? layer.palette[kind]];
    paint.outlines(ctx, view, [item], { ...look, style: this.style });
  }

  // ---------------------------------------------------------------- pin

  frozen() {
    return {
      layers: this.layers.map((layer) => ({
        ...layer,
        labels: null,
        dashed: true,
        fixed: layer.kind === "boxes" ? this.shown(layer) : layer.kind === "heat" ? this.heatState(layer) : null,
      })),
      boxes: this.boxes.map((box) => [...box]),
    };
  }

  paintGhost(ctx, view) {
    for (const layer of this.ghost?.layers ?? []) {
      if (layer.kind === "heat") paint.paintHeat(ctx, view, layer, layer.fixed);
      if (layer.kind === "boxes") paint.paintBoxes(ctx, view, layer, layer.fixed, this.style);
      if (layer.kind === "drawn") paint.paintDrawn(ctx, view, layer, this.ghost.boxes, null, true, this.style);
    }
  }

  // ---------------------------------------------------------------- tip

  showTip() {
    const text = this.drag?.active ? "" : describe(this);
    this.tip.hidden = !text;
    if (!text) return;
    if (this.tip.textContent !== text) this.tip.textContent = text;
    const { view, tip } = this;
    const [x, y] = toScreen(view, ...this.tipPlace());
    const left = x + 14 + tip.offsetWidth > view.width ? x - 14 - tip.offsetWidth : x + 14;
    const high = y + 14 + tip.offsetHeight > view.height ? y - 10 - tip.offsetHeight : y + 14;
    const place = [
      clamp(left, 2, Math.max(2, view.width - tip.offsetWidth - 2)),
      clamp(high, 2, Math.max(2, view.height - tip.offsetHeight - 2)),
    ];
    tip.style.transform = `translate(${place.map((at) => `${Math.round(at)}px`)})`;
  }

  tipPlace() {
    if (this.pointer) return this.pointer;
    const box = this.hovered ? paint.boxAt(this.layer(this.hovered[0]), this.hovered[1])
      : cellBox(this.grid, this.cell);
    return [box[2], box[1]];
  }

  // ---------------------------------------------------------------- for tests

  debug() {
    const visible = this.layers.filter(({ kind }) => kind === "boxes")
      .map((layer) => [layer.name, this.shown(layer).filter((colour) => colour !== paint.HIDDEN).length]);
    const frame = this.top.getBoundingClientRect();
    return {
      hovered: this.hovered, cell: this.cell, pinned: this.pinned, picked: this.picked,
      boxes: this.boxes.map((box) => [...box]), selected: this.selected,
      visible: Object.fromEntries(visible), ghost: Boolean(this.ghost), view: this.view,
      cellBoxes: this.grid?.kind === "cells" && this.activeCell !== null
        ? paint.boxesOfCell(this.grid, this.activeCell).map((box) => [...box])
        : [],
      client: (x, y) => toScreen(this.view, x, y).map((at, axis) => at + [frame.left, frame.top][axis]),
    };
  }

  // The photo pixel under a pointer event.
  at(event) {
    const frame = this.top.getBoundingClientRect();
    return toPhoto(this.view, event.clientX - frame.left, event.clientY - frame.top);
  }
}

Stage.count = 0;

const place = (index, count) => clamp(Math.round(index), 0, count - 1);

// The lowest of the values at which the sliders of a bound stand.
function lowest(layer, bound, otherwise) {
  const values = layer[bound].map((topic) => {
    const { data } = layer.arrays[`${bound}.${topic}`];
    return data[place(layer.at[topic] ?? 0, data.length)];
  });
  return values.length ? Math.min(...values) : otherwise;
}

function own(arrays, name) {
  const prefix = `${name}.`;
  const mine = Object.entries(arrays).filter(([key]) => key.startsWith(prefix));
  return Object.fromEntries(mine.map(([key, array]) => [key.slice(prefix.length), array]));
}

function clear(canvas) {
  const ctx = canvas.getContext("2d");
  ctx.clearRect(0, 0, canvas.width, canvas.height);
  return ctx;
}

async function decode(bytes) {
  try {
    return await createImageBitmap(new Blob([bytes]));
  } catch {
    return null; // the panel's colour stands in for a photo that cannot be shown
  }
}

export default (component) => piece(component, (root) => new Stage(root));
