// What every live piece shares: the packed format, resources, the bus between pieces, theme.

const TYPES = {
  u1: Uint8Array, i1: Int8Array, u2: Uint16Array, i2: Int16Array,
  u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
};

// ---------------------------------------------------------------- packed data
// Layout: uint32 length of the header, header (JSON), arrays one after the other.
// An array is {data: TypedArray, shape: [..]}; one sent as a resource may still be on its way.

function split(bytes) {
  const buffer = bytes.slice().buffer;
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, place] of Object.entries(header.arrays)) {
    if (place.resource) continue;
    const count = place.shape.reduce((product, size) => product * size, 1);
    const data = new TYPES[place.dtype](buffer, 4 + length + place.offset, count);
    arrays[name] = { data, shape: place.shape };
  }
  return { meta: header.meta, places: header.arrays, arrays };
}

// Calls `done({meta, arrays})` now if every resource has arrived, else as soon as they have.
// Returns a function that cancels the wait.
export function unpack(bytes, done) {
  const { meta, places, arrays } = split(bytes);
  const missing = Object.entries(places).filter(([, place]) => place.resource);
  let cancelled = false;
  const finish = () => {
    for (const [name, place] of missing) {
      if (!resources.has(place.resource)) return false;
      arrays[name] = resources.get(place.resource);
    }
    if (!cancelled) done({ meta, arrays });
    return true;
  };
  if (!finish()) {
    const retry = () => finish() && waiting.delete(retry);
    waiting.add(retry);
    return () => { cancelled = true; waiting.delete(retry); };
  }
  return () => { cancelled = true; };
}

// ---------------------------------------------------------------- resources
// Arrays sent once and used by several pieces, counted by the carriers that hold them.

const resources = new Map();
const holders = new Map();
const waiting = new Set();

export function hold(bytes) {
  const { meta, arrays } = split(bytes);
  resources.set(meta.digest, arrays.value);
  holders.set(meta.digest, (holders.get(meta.digest) ?? 0) + 1);
  for (const retry of [...waiting]) retry();
  return meta.digest;
}

export function release(digest) {
  const left = holders.get(digest) - 1;
  if (left > 0) return holders.set(digest, left);
  holders.delete(digest);
  // A piece that is about to be redrawn may still ask for it within the same update.
  setTimeout(() => { if (!holders.has(digest)) resources.delete(digest); }, 5000);
}

// ---------------------------------------------------------------- bus
// Sliders publish their position; figures, stages and sentences follow without the server.

const latest = new Map();
const listeners = new Map();

export function publish(topic, value) {
  latest.set(topic, value);
  for (const listener of listeners.get(topic) ?? []) listener(value);
}

// Messages without memory: pin, export.
export function announce(topic, value) {
  for (const listener of listeners.get(topic) ?? []) listener(value);
}

export function subscribe(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(listener);
  if (latest.has(topic)) listener(latest.get(topic));
  return () => listeners.get(topic)?.delete(listener);
}

// ---------------------------------------------------------------- pieces
// Streamlit calls a component again at each change of data or theme, and its cleanup once.
// `piece` turns that into an object: `create(root)` once, `update(component)` each time.
// Of two updates in quick succession Streamlit also cleans up after the first, which must not
// take the piece away: only the cleanup of the latest call counts.

const pieces = new WeakMap();

export function piece(component, create) {
  const parent = component.parentElement;
  let made = pieces.get(parent);
  if (!made) {
    const root = document.createElement("div");
    root.className = "live";
    parent.append(root);
    made = create(root);
    made.root = root;
    pieces.set(parent, made);
  }
  made.update(component);
  made.latest = component;
  return () => {
    if (made.latest !== component) return;
    pieces.delete(parent);
    made.destroy?.();
    made.root.remove();
  };
}

// ---------------------------------------------------------------- connection
// Streamlit drops what is reported while the connection is lost: who waits for an answer reports again
// when it is back. A server that has begun anew does not hear that before it has run the page, so for a
// while each run is followed by another try, when its own answers have been heard. The app's element says
// in attributes how the connection is and whether the page runs.

const CONNECTION = "data-test-connection-state";
const SCRIPT = "data-test-script-state";
const connected = new Set();
const reconnected = new Set();
const WHILE = 30_000; // ms
const HEARD = 300; // ms after a run's end
let backAt = -WHILE;
let trying = 0;

function subscription(listeners) {
  return (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
}

export const onConnect = subscription(connected);
export const onReconnect = subscription(reconnected);

function tryAgain() {
  for (const listener of [...reconnected]) listener();
}

new MutationObserver((changes) => {
  const became = (name, value) => changes.some(({ attributeName, oldValue, target }) =>
    attributeName === name && target.getAttribute(name) === value && oldValue !== value);
  const back = became(CONNECTION, "CONNECTED");
  if (back) {
    backAt = performance.now();
    for (const listener of [...connected]) listener();
    tryAgain();
  }
  if (became(SCRIPT, "notRunning") && performance.now() < backAt + WHILE) {
    clearTimeout(trying);
    trying = setTimeout(tryAgain, HEARD);
  }
}).observe(document.body, {
  subtree: true, attributeFilter: [CONNECTION, SCRIPT], attributeOldValue: true,
});

// ---------------------------------------------------------------- helpers

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// What follows a slider is told to screen readers once it has rested: forty times a second is noise.
// All pieces speak through one region that is not to be seen, so that none is read twice.
const REST = 500; // ms
const spoken = element("div", { className: "live-spoken", ariaLive: "polite" });
document.body.append(spoken);

export function createVoice() {
  const line = element("p");
  let timer = 0;
  spoken.append(line);
  return {
    say(text) {
      clearTimeout(timer);
      timer = setTimeout(() => { line.textContent = text; }, REST);
    },
    destroy() {
      clearTimeout(timer);
      line.remove();
    },
  };
}

const RAISED = { "-": "⁻", ...[..."⁰¹²³⁴⁵⁶⁷⁸⁹"] };

// A size over many orders of magnitude, in two or three digits: `figures.words.readable`.
export function readable(number) {
  if (number === 0) return "0";
  if (number === Infinity) return "∞";
  if (number >= 1e-3 && number < 1e4) {
    return number < 99.5 ? `${Number(number.toPrecision(2))}` : number.toFixed(0);
  }
  const [digits, exponent] = number.toExponential(1).replace("+", "").split("e");
  return `${digits.replace(".0", "")}·10${[...exponent].map((sign) => RAISED[sign]).join("")}`;
}

export function theme(node) {
  const style = getComputedStyle(node);
  const read = (name, otherwise) => style.getPropertyValue(`--st-${name}`).trim() || otherwise;
  return {
    text: read("text-color", "#1f2328"),
    background: read("background-color", "#ffffff"),
    panel: read("secondary-background-color", "#f4f5f7"),
    primary: read("primary-color", "#0072b2"),
    border: read("border-color", "#dfe2e6"),
    font: style.fontFamily,
  };
}

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// Runs `draw` at most once per frame, however often it is asked for.
export function perFrame(draw) {
  let asked = 0;
  const request = () => { asked ||= requestAnimationFrame(() => { asked = 0; draw(); }); };
  request.cancel = () => { cancelAnimationFrame(asked); asked = 0; };
  return request;
}

export function download(name, href) {
  const link = element("a", { href, download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

// The stylesheet is shared by all pieces and loaded once.
const sheet = new URL("live.css", import.meta.url).href;
if (!document.querySelector(`link[href="${sheet}"]`)) {
  document.head.append(element("link", { rel: "stylesheet", href: sheet }));
}
