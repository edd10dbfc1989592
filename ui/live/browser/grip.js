// A point that is dragged over a figure: two sliders follow it, and it follows them.
import { announce, element, subscribe } from "./shared.js";

const nearest = (values, value) =>
  values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);

// `plot` is Plotly's element. `axes` are {x, y}, each the `topic` of a slider and its `values`.
export function createGrip(plot) {
  const handle = element("div", { className: "live-grip", hidden: true });
  const at = {};
  let axes = null;
  let grabbed = false;
  let offs = [];

  function place() {
    const { xaxis, yaxis } = plot._fullLayout ?? {};
    handle.hidden = !axes || !xaxis || !("x" in at && "y" in at);
    if (handle.hidden) return;
    const x = axes.x.values[at.x];
    const y = axes.y.values[at.y];
    handle.style.left = `${xaxis._offset + xaxis.d2p(x)}px`;
    handle.style.top = `${yaxis._offset + yaxis.d2p(y)}px`;
  }

  function go({ clientX, clientY }, done) {
    const { xaxis, yaxis } = plot._fullLayout;
    const box = plot.getBoundingClientRect();
    const x = xaxis.p2d(clientX - box.left - xaxis._offset);
    const y = yaxis.p2d(clientY - box.top - yaxis._offset);
    announce(`set:${axes.x.topic}`, { index: nearest(axes.x.values, x), done });
    announce(`set:${axes.y.topic}`, { index: nearest(axes.y.values, y), done });
  }

  handle.onpointerdown = (event) => {
    handle.setPointerCapture(event.pointerId);
    grabbed = true;
  };
  handle.onpointermove = (event) => { if (grabbed) go(event, false); };
  handle.onpointerup = (event) => { grabbed = false; go(event, true); };
  handle.onpointercancel = () => { grabbed = false; };
  plot.addEventListener("click", (event) => {
    if (axes && event.target.closest?.(".nsewdrag")) go(event, true);
  });

  return {
    place,
    update(wanted) {
      if (JSON.stringify(wanted) === JSON.stringify(axes)) return;
      offs.forEach((off) => off());
      offs = [];
      axes = wanted;
      plot.parentElement.append(handle);
      for (const name of axes ? ["x", "y"] : []) {
        offs.push(subscribe(axes[name].topic, (index) => { at[name] = index; place(); }));
      }
      place();
    },
    destroy() { offs.forEach((off) => off()); },
  };
}
