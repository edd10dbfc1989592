// The live slider. It walks over positions; position `index` has the text `texts[index]`.
//
// Back-pressure: one report is in flight at a time. While it is, the newest position waits in
// `want`; the server's acknowledgement sends it on its way. So nothing ever queues.
import { element, onReconnect, piece, publish, reducedMotion, subscribe } from "./shared.js";

const PATIENCE = 5000; // ms after which an unanswered report counts as lost
let count = 0;

function create(root) {
  const id = `live-slider-${++count}`;
  const label = element("label", { htmlFor: id });
  const output = element("output", { htmlFor: id, ariaLive: "off" }); // the input tells it
  const input = element("input", { type: "range", id, min: 0, step: 1 });
  const transport = element("span", { className: "live-transport" });
  const [back, play, forward] = ["‹", "▶", "›"].map((sign) =>
    element("button", { type: "button", textContent: sign }));
  const ticks = element("div", { className: "live-ticks" });
  transport.append(back, play, forward);
  root.classList.add("live-slider");
  root.append(
    element("div", { className: "live-head" }, label, output),
    element("div", { className: "live-track" }, transport, input),
    ticks,
  );

  let data = null;
  let send = null;
  let revision = null;
  let serial = Date.now();
  let inFlight = 0;
  let sentAt = 0;
  let sent = null;
  let want = null;
  let timer = 0;
  let told = 0;
  let playing = 0;
  let unsubscribe = null;

  function pump() {
    if (!want) return;
    const waited = performance.now() - sentAt;
    clearTimeout(timer);
    if (inFlight && waited < PATIENCE) {
      timer = setTimeout(pump, PATIENCE - waited + 1);
      return;
    }
    inFlight = ++serial;
    sentAt = performance.now();
    sent = want;
    want = null;
    send("sent", { ...sent, serial });
  }

  // What was in flight when the connection broke may never have arrived.
  const ignoreReconnect = onReconnect(() => {
    if (!inFlight) return;
    want ??= sent;
    inFlight = 0;
    pump();
  });

  function acknowledge(number) {
    if (number == null || number < inFlight) return;
    inFlight = 0;
    pump();
  }

  function show() {
    const index = Number(input.value);
    const text = data.texts[index] ?? "";
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
    input.style.setProperty("--done", data.texts.length > 1 ? index / (data.texts.length - 1) : 0);
  }

  function go(index, done) {
    input.value = index;
    show();
    publish(data.topic, Number(input.value));
    if (data.live || done) {
      want = { index: Number(input.value), done, revision };
      // A key makes an input event and a change event at once: one report tells both.
      told ||= setTimeout(() => { told = 0; pump(); });
    }
  }

  // A figure may move the slider too: what is pointed at there is published under its topic.
  function follow(index) {
    if (index === Number(input.value)) return;
    input.value = index;
    show();
  }

  // What is dragged elsewhere for this slider, such as a point on a figure.
  function dragged({ index, done }) {
    stop();
    go(index, done);
  }

  function stop() {
    if (!playing) return;
    clearInterval(playing);
    playing = 0;
    play.textContent = "▶";
    play.ariaLabel = data.strings.play ?? "Play";
    go(Number(input.value), true);
  }

  function start() {
    const last = data.texts.length - 1;
    if (Number(input.value) >= last) go(0, false);
    play.textContent = "❚❚";
    play.ariaLabel = data.strings.pause ?? "Pause";
    // Few states are read one by one, a hundred are seen as one motion.
    const pause = Math.min(700, Math.max(25, 250_000 / data.texts.length ** 2));
    playing = setInterval(() => {
      const next = Number(input.value) + 1;
      go(next, false);
      if (next >= last) stop();
    }, pause);
  }

  input.oninput = () => { if (playing) stop(); go(Number(input.value), false); };
  input.onchange = () => go(Number(input.value), true);
  back.onclick = () => { stop(); go(Math.max(0, Number(input.value) - 1), true); };
  forward.onclick = () => { stop(); go(Math.min(data.texts.length - 1, Number(input.value) + 1), true); };
  play.onclick = () => (playing ? stop() : start());

  function drawTicks() {
    ticks.replaceChildren(...data.ticks.map(([index, text]) => {
      const place = data.texts.length > 1 ? index / (data.texts.length - 1) : 0;
      const mark = element("span", { textContent: text });
      mark.style.setProperty("--place", place);
      if (place < 0.08) mark.classList.add("live-first");
      if (place > 0.92) mark.classList.add("live-last");
      mark.onclick = () => go(index, true);
      return mark;
    }));
  }

  return {
    update(component) {
      const before = data;
      data = component.data;
      send = component.setStateValue;
      label.textContent = data.label;
      label.title = data.help;
      root.classList.toggle("live-helped", Boolean(data.help));
      input.max = data.texts.length - 1;
      transport.hidden = !data.play;
      play.hidden = reducedMotion();
      back.ariaLabel = data.strings.back ?? "Back";
      forward.ariaLabel = data.strings.forward ?? "Forward";
      if (!playing) play.ariaLabel = data.strings.play ?? "Play";
      if (JSON.stringify(before?.ticks) !== JSON.stringify(data.ticks)
        || before?.texts.length !== data.texts.length) drawTicks();
      if (before?.topic !== data.topic) {
        unsubscribe?.();
        const offs = [
          subscribe(`ack:${data.topic}`, acknowledge),
          subscribe(data.topic, follow),
          subscribe(`set:${data.topic}`, dragged),
        ];
        unsubscribe = () => offs.forEach((off) => off());
      }
      if (revision !== data.revision) {
        revision = data.revision;
        want = null;
        input.value = data.index;
        publish(data.topic, data.index);
      }
      show();
      acknowledge(data.ack);
    },
    destroy() {
      clearInterval(playing);
      clearTimeout(timer);
      clearTimeout(told);
      ignoreReconnect();
      unsubscribe?.();
    },
  };
}

export default (component) => piece(component, create);
