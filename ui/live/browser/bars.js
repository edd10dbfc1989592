// Live bars: a row of upright range inputs, or lying ones one below the other. Like the live
// slider, one report is in flight at a time and the newest state waits for its answer.
import { element, onReconnect, piece, readable, subscribe } from "./shared.js";

const PATIENCE = 5000; // ms after which an unanswered report counts as lost

function create(root) {
  const caption = element("div", { className: "live-caption" });
  const row = element("div", { className: "live-bars" });
  row.setAttribute("role", "group");
  root.append(caption, row);

  let data = null;
  let send = null;
  let revision = null;
  let serial = Date.now();
  let inFlight = 0;
  let waiting = null;
  let timer = 0;
  let unsubscribe = null;
  let inputs = [];

  function pump() {
    if (waiting === null || inFlight) return;
    const done = waiting;
    waiting = null;
    inFlight = ++serial;
    clearTimeout(timer);
    timer = setTimeout(() => { inFlight = 0; pump(); }, PATIENCE);
    send("sent", { values: inputs.map((input) => Number(input.value)), done, revision, serial });
  }

  function answered(number) {
    if (number == null || number < inFlight) return;
    inFlight = 0;
    clearTimeout(timer);
    pump();
  }

  const ignoreReconnect = onReconnect(() => {
    if (!inFlight) return;
    inFlight = 0;
    waiting ??= true;
    pump();
  });

  function show(input) {
    const share = (Number(input.value) - data.low) / (data.high - data.low);
    const zero = Math.min(1, Math.max(0, -data.low / (data.high - data.low)));
    input.style.setProperty("--from", Math.min(share, zero));
    input.style.setProperty("--to", Math.max(share, zero));
    const value = Number(input.value);
    input.nextElementSibling.textContent = data.power ? readable(10 ** value) : value.toFixed(1);
    input.setAttribute("aria-valuetext", input.nextElementSibling.textContent);
  }

  function build() {
    const bars = data.names.map((name) => {
      const input = element("input", { type: "range", min: data.low, max: data.high, step: data.step });
      input.setAttribute("aria-orientation", data.stacked ? "horizontal" : "vertical");
      input.ariaLabel = name;
      input.oninput = () => { show(input); waiting ??= false; pump(); };
      input.onchange = () => { waiting = true; pump(); };
      return element("div", { className: "live-upright" }, input,
        element("output", { ariaLive: "off" }), element("span", { textContent: name, title: name }));
    });
    row.classList.toggle("live-stacked", data.stacked);
    row.replaceChildren(...bars);
    inputs = bars.map((bar) => bar.firstElementChild);
  }

  return {
    update(component) {
      const before = data;
      data = component.data;
      send = component.setStateValue;
      caption.textContent = data.label;
      row.ariaLabel = data.label;
      const rebuilt = JSON.stringify(before?.names) !== JSON.stringify(data.names);
      if (rebuilt) build();
      if (before?.topic !== data.topic) {
        unsubscribe?.();
        unsubscribe = subscribe(`ack:${data.topic}`, answered);
      }
      if (rebuilt || revision !== data.revision) {
        revision = data.revision;
        waiting = null;
        inputs.forEach((input, i) => { input.value = data.values[i]; show(input); });
      }
    },
    destroy() {
      clearTimeout(timer);
      ignoreReconnect();
      unsubscribe?.();
    },
  };
}

export default (component) => piece(component, create);
