// The live figure: Plotly.react in place, sweeps played from arrays that are here already.
import { createGrip } from "./grip.js";
import { download, element, piece, publish, subscribe, theme, unpack } from "./shared.js";

const FRAMES = 2000;
const AT_ONCE = {
  mode: "immediate", frame: { duration: 0, redraw: false }, transition: { duration: 0 },
};
let library = null;

// Plotly's script is 4.8 MB: fetched once, whatever the cache headers say, and shared.
function plotly(url) {
  library ??= fetch(url, { cache: "force-cache" })
    .then((response) => {
      if (!response.ok) throw new Error(`${url}: ${response.status}`);
      return response.blob();
    })
    .then((script) => new Promise((resolve, reject) => {
      const source = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
      const tag = element("script", { src: source, onerror: reject });
      tag.onload = () => { URL.revokeObjectURL(source); resolve(window.Plotly); };
      document.head.append(tag);
    }))
    .catch((error) => {
      library = null; // the next figure asks again
      throw error;
    });
  return library;
}

function set(target, path, value) {
  const names = path.split(".");
  const last = names.pop();
  for (const name of names) target = target[name] ??= {};
  target[last] = value;
}

// Row `index` of an array [positions, ...]: a typed array, or rows of them for two dimensions.
function row({ data, shape }, index) {
  const size = shape.slice(1).reduce((product, n) => product * n, 1);
  const at = Math.min(index, shape[0] - 1) * size;
  const flat = data.subarray(at, at + size);
  if (shape.length < 3) return flat;
  const width = shape[2];
  return Array.from({ length: shape[1] }, (_, r) => flat.subarray(r * width, (r + 1) * width));
}

function dressed(layout, colours, height) {
  const axes = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
  const dress = { ...layout, height, autosize: true, uirevision: layout.uirevision ?? "keep" };
  delete dress.width;
  dress.font = { ...layout.font, color: colours.text, family: colours.font };
  dress.paper_bgcolor = "rgba(0,0,0,0)";
  dress.plot_bgcolor = "rgba(0,0,0,0)";
  dress.hoverlabel = {
    bgcolor: colours.panel, bordercolor: colours.border,
    ...layout.hoverlabel, font: { color: colours.text, family: colours.font },
  };
  for (const name of axes) dress[name] = { ...layout[name] };
  if (matchMedia("(pointer: coarse)").matches) dress.dragmode = false;
  return dress;
}

// A pinned copy of a trace: same colours as drawn now, pale, behind, silent.
function ghostly(trace, drawn) {
  const ghost = { ...trace, opacity: 0.35, showlegend: false, hoverinfo: "skip", zorder: -1 };
  delete ghost.hovertemplate;
  for (const part of ["line", "marker"]) {
    if (drawn[part]?.color !== undefined) ghost[part] = { ...trace[part], color: drawn[part].color };
  }
  if ("showscale" in drawn) ghost.showscale = false;
  return ghost;
}

// The axes as high as the figure that keep the scale of another one: where a column is narrow they
// may leave room below.
const tied = (layout) =>
  Object.keys(layout).filter((name) => layout[name]?.scaleanchor && !layout[name].domain);
const span = (range) => range?.[1] - range?.[0];

const pause = () => new Promise((resolve) => { setTimeout(resolve); });
const painted = () => new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); });

// Of several figures that the server changes at once each is seen before the next is drawn.
let turn = Promise.resolve();
function inTurn(work) {
  const done = turn.then(work);
  turn = done.then(painted, painted);
  return done;
}

// A figure is drawn when it is less than a fifth of a screen away: Plotly takes 10 to 50 ms for one, and
// a change may redraw several further down. Calls `come()` when it has come near, and `print()` before
// the page is printed.
function proximity(plot, come, print) {
  let near = false;
  const root = plot.closest("[data-testid=stMain]"); // what scrolls
  const watch = new IntersectionObserver((entries) => {
    near = entries.at(-1).isIntersecting;
    if (near) come();
  }, { root, rootMargin: "20% 0px" });
  watch.observe(plot);
  addEventListener("beforeprint", print);
  return {
    isNear: () => near,
    end() { watch.disconnect(); removeEventListener("beforeprint", print); },
  };
}

function create(root) {
  const plot = element("div", { className: "live-plot" });
  root.classList.add("live-figure");
  root.append(plot);

  let P = null;
  let meta = null;
  let arrays = null;
  let figure = null;
  let report = null;
  let ghosts = [];
  let serial = Date.now();
  let stale = false; // whether more is to be drawn than has been
  let busy = false;
  let drawing = null;
  let gone = false;
  let leave;
  const left = new Promise((resolve) => { leave = resolve; });
  let fitted = {};
  let whole = true; // whether more has changed than where lines and dots are
  let looks = ""; // all of the figure but the x and y of its traces
  let places = []; // those, trace by trace
  const renewed = new Set(); // traces that the server has given new ones
  let cancel = null;
  let topics = "";
  let unsubscribe = [];
  const at = new Map(); // topics in the order in which they last moved
  const grip = createGrip(plot);
  const widths = new ResizeObserver(() => {
    if (!fitted.frame || fitted.frame === frame()) return;
    whole = true;
    draw();
  });
  widths.observe(plot);
  const place = proximity(plot, () => { if (stale) drawInTurn(); }, () => { if (stale) redraw(); });

  const moved = () => [...at.keys()].flatMap((topic) => meta.sweeps.filter((s) => s.topic === topic));

  function current() {
    const data = figure.data.map((trace) => ({ ...trace }));
    for (const sweep of moved()) {
      const trace = data[sweep.trace];
      const path = sweep.attribute.split(".");
      if (path.length > 1) trace[path[0]] = structuredClone(trace[path[0]] ?? {});
      set(trace, sweep.attribute, row(arrays[sweep.array], at.get(sweep.topic)));
    }
    return data;
  }

  // Draws what has changed: now if the figure is near, else when it comes near.
  function draw() {
    stale = true;
    if (place.isNear()) return redraw();
    plot.dataset.far = "";
  }

  // Plotly may never finish with a plot that has been taken away: the line goes on without it.
  function drawInTurn() {
    inTurn(() => Promise.race([draw(), left]));
  }

  function redraw() {
    if (!busy) drawing = drawAll();
    return drawing;
  }

  async function drawAll() {
    busy = true;
    while (stale && !gone) {
      try {
        await drawOnce();
      } catch (error) {
        whole = true; // nobody knows what stands there now
        if (!gone) reportError(error);
      }
    }
    busy = false;
  }

  async function drawOnce() {
    delete plot.dataset.far;
    stale = false;
    const alone = whole ? null : moves();
    whole = false;
    renewed.clear();
    await (alone ? P.animate(plot, alone, AT_ONCE) : paint());
    if (gone) return;
    const frames = (window.__figureFrames ??= []);
    frames.push(performance.now());
    if (frames.length > FRAMES) frames.shift();
    grip.place();
  }

  async function paint() {
    plot.style.height = `${height()}px`;
    const layout = dressed(figure.layout, theme(root), height());
    if (meta.grip) layout.dragmode = false;
    layout.datarevision = ++serial;
    await P.react(plot, [...current(), ...ghosts], layout, {
      displaylogo: false, displayModeBar: false, responsive: true,
    });
    if (!gone) await fit();
    if (gone) return;
    grip.update(meta.grip);
    listen();
  }

  // What the height that fits depends on: the column, the axes' places and proportions.
  function frame() {
    const axes = tied(figure.layout).map((name) => {
      const axis = figure.layout[name];
      const [letter, ...number] = axis.scaleanchor;
      const across = figure.layout[`${letter}axis${number.join("")}`];
      return [span(axis.range) / span(across.range), across.domain];
    });
    return JSON.stringify([plot.clientWidth, meta.height, axes]);
  }

  const height = () => (fitted.frame === frame() ? fitted.height : meta.height);

  // Where axes of one scale leave room below, the figure ends with them and their labels.
  async function fit() {
    let drawn = plot._fullLayout;
    const ends = tied(figure.layout).map((name) => drawn[name].domain[0]);
    const spare = Math.min(...ends) * drawn._size.h;
    if (!ends.length || spare < 1) return;
    const used = drawn._size.h - spare;
    await shrink(drawn.height - spare);
    drawn = plot._fullLayout;
    await shrink(used + drawn._size.t + drawn._size.b);
  }

  async function shrink(wanted) {
    fitted = { frame: frame(), height: Math.ceil(wanted) };
    plot.style.height = `${fitted.height}px`;
    if (!gone) await P.relayout(plot, { height: fitted.height });
  }

  // Lines and dots between fixed axes move alone: Plotly would draw all that is below them again.
  // Null if more has to be drawn than them.
  function moves() {
    const sweeps = moved();
    const traces = [...new Set([...renewed, ...sweeps.map(({ trace }) => trace)])];
    const alone = sweeps.every(({ attribute }) => /^[xy]$/.test(attribute)) && traces.every(isLight);
    if (!alone) return null;
    const shown = current();
    return { data: traces.map((trace) => ({ x: shown[trace].x, y: shown[trace].y })), traces };
  }

  function isLight(trace) {
    const { type, visible, xaxis, yaxis } = plot._fullData[trace];
    if (type !== "scatter" || visible !== true) return false;
    const axes = [xaxis, yaxis].map((name) => plot._fullLayout[`${name[0]}axis${name.slice(1)}`]);
    return axes.every((axis) => !axis.autorange);
  }

  // What differs from the figure before.
  function compare() {
    const parts = figure.data.map(({ x, y, ...others }) => [JSON.stringify([x, y]), others]);
    const seen = JSON.stringify([
      parts.map(([, others]) => others), figure.layout, meta.height, meta.grip, meta.sweeps,
      meta.events, theme(root),
    ]);
    whole ||= seen !== looks;
    looks = seen;
    parts.forEach(([points], trace) => { if (points !== places[trace]) renewed.add(trace); });
    places = parts.map(([points]) => points);
  }

  function tell(kind, event) {
    const points = (event?.points ?? []).map((point) => ({
      trace: point.curveNumber,
      index: point.pointIndex ?? point.pointNumber ?? null,
      x: point.x ?? null,
      y: point.y ?? null,
    }));
    report("event", { kind, points, serial: ++serial });
  }

  function listen() {
    plot.removeAllListeners?.("plotly_click");
    plot.removeAllListeners?.("plotly_hover");
    plot.removeAllListeners?.("plotly_selected");
    plot.removeAllListeners?.("plotly_relayout");
    plot.on("plotly_relayout", grip.place);
    if (meta.events.includes("click")) plot.on("plotly_click", (e) => tell("click", e));
    plot.on("plotly_hover", (e) => {
      if (meta.events.includes("hover")) tell("hover", e);
      for (const { curveNumber, pointNumber } of e.points) {
        const topic = meta.points_at[curveNumber];
        if (topic) publish(topic, pointNumber);
      }
    });
    if (meta.events.includes("select")) plot.on("plotly_selected", (e) => tell("select", e));
  }

  function follow() {
    const wanted = JSON.stringify([meta.step, ...new Set(meta.sweeps.map((s) => s.topic))]);
    if (wanted === topics) return;
    topics = wanted;
    unsubscribe.forEach((off) => off());
    at.clear();
    unsubscribe = [...new Set(meta.sweeps.map((s) => s.topic))].map((topic) =>
      subscribe(topic, (index) => { at.delete(topic); at.set(topic, index); if (P) draw(); }));
    unsubscribe.push(
      subscribe(`pin:${meta.step}`, ({ pinned }) => {
        ghosts = pinned && figure ? current().map((trace, i) => ghostly(trace, plot._fullData?.[i] ?? {})) : [];
        whole = true;
        if (P) draw();
      }),
      subscribe(`png:${meta.step}`, async ({ name }) => {
        P ??= await plotly(meta.plotly);
        stale = true;
        await redraw();
        const layout = { ...plot.layout, paper_bgcolor: theme(root).background };
        const size = { width: plot.clientWidth, height: plot.clientHeight };
        const image = await P.toImage({ data: plot.data, layout }, { format: "png", scale: 2, ...size });
        download(`${name}.png`, image);
      }),
    );
  }

  async function show(lib) {
    P = lib;
    await pause(); // lets the step's answer reach its slider first: the server computes meanwhile
    if (gone) return;
    if (place.isNear()) drawInTurn(); else draw();
  }

  return {
    update(component) {
      report = component.setStateValue;
      cancel?.();
      cancel = unpack(component.data, (received) => {
        meta = received.meta;
        arrays = received.arrays;
        figure = JSON.parse(new TextDecoder().decode(arrays.figure.data));
        plot.style.height = `${height()}px`;
        plot.setAttribute("role", "img");
        plot.ariaLabel = meta.label;
        follow();
        compare();
        plotly(meta.plotly).then(show, () => { if (!gone) report("failed", true); });
      });
    },
    destroy() {
      gone = true;
      leave();
      cancel?.();
      unsubscribe.forEach((off) => off());
      grip.destroy();
      place.end();
      widths.disconnect();
      P?.purge(plot);
    },
  };
}

export default (component) => piece(component, create);
