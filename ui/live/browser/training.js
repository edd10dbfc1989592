// The live training: asks the server for one slice of a long computation after the other.
//
// One request is in flight at a time; the next one goes out when the step has drawn its answer.
// So a closed page, a pause and a lost connection all stop the computation.
import { element, onConnect, piece, subscribe } from "./shared.js";

const PATIENCE = 60000; // ms after which a request counts as lost: it may have waited in line

function create(root) {
  const start = element("button", { type: "button", className: "live-start" });
  const again = element("button", { type: "button" });
  const bar = element("div", { className: "live-bar" });
  const text = element("span", { className: "live-progress" });
  bar.setAttribute("role", "progressbar");
  bar.ariaValueMin = "0";
  bar.ariaValueMax = "100";
  root.classList.add("live-training");
  root.append(start, again, bar, text);

  let data = null;
  let send = null;
  let serial = Date.now();
  let inFlight = 0;
  let revision = null;
  let going = false;
  let repeating = false;
  let timer = 0;
  let unsubscribe = null;

  function ask(more = {}) {
    clearTimeout(timer);
    inFlight = ++serial;
    timer = setTimeout(() => { if (going) ask(); }, PATIENCE);
    send("asked", { serial, revision, again: false, pause: false, ...more });
  }

  function answered(number) {
    if (!inFlight || number < inFlight) return;
    inFlight = 0;
    clearTimeout(timer);
    if (going && !data.finished) ask();
  }

  // What is asked too early for a server that has begun anew is asked again after PATIENCE.
  const ignoreReconnect = onConnect(() => { if (going) ask(); });

  function show() {
    start.textContent = going ? `❚❚ ${data.strings.pause}` : `▶ ${data.strings.start}`;
    start.disabled = data.finished;
    again.textContent = data.strings.again;
    again.hidden = !data.share;
    bar.style.setProperty("--done", data.share);
    bar.ariaValueNow = String(Math.round(100 * data.share));
    bar.ariaLabel = data.strings.start;
    text.textContent = data.progress;
  }

  start.onclick = () => {
    going = !going;
    if (going && !inFlight) ask();
    if (!going && inFlight) ask({ pause: true }); // a slice that waits for its turn gives it up
    show();
  };
  again.onclick = () => {
    going = repeating = true;
    ask({ again: true });
    show();
  };

  return {
    update(component) {
      send = component.setStateValue;
      const before = data;
      data = component.data;
      if (before && revision !== data.revision) {
        going = repeating; // other settings stop it, a repeat has been asked for
        repeating = false;
      }
      revision = data.revision;
      if (data.finished) going = false;
      if (before?.topic !== data.topic) {
        unsubscribe?.();
        unsubscribe = subscribe(`ack:${data.topic}`, answered);
      }
      show();
    },
    destroy() {
      going = false;
      clearTimeout(timer);
      ignoreReconnect();
      unsubscribe?.();
    },
  };
}

export default (component) => piece(component, create);
