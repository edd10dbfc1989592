// The row of buttons below every step, and the step's acknowledgement to its sliders:
// it is the last element of a step, so when it arrives the figure has been sent.
import { announce, download, element, piece, publish } from "./shared.js";

const ORDER = ["link", "png", "data", "pin", "code"];

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages served without TLS have no clipboard: the old way needs a selected field.
    const field = element("textarea", { value: text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

function create(root) {
  root.classList.add("live-toolbar");
  const buttons = Object.fromEntries(ORDER.map((name) => [name, element("button", { type: "button" })]));
  root.append(...Object.values(buttons));
  let data = null;
  let trigger = null;
  let pinned = false;
  let saved = null;
  let shownFor = 0;

  function label() {
    for (const name of ORDER) {
      buttons[name].textContent = data.strings[name];
      buttons[name].hidden = !data.offers.includes(name);
    }
    if (pinned) buttons.pin.textContent = data.strings.unpin;
    buttons.pin.ariaPressed = String(pinned);
    buttons.code.ariaPressed = String(data.code);
  }

  buttons.link.onclick = async () => {
    const link = new URL(location.href);
    for (const [name, value] of Object.entries(data.link)) link.searchParams.set(name, value);
    await copy(link.href);
    buttons.link.textContent = data.strings.copied;
    clearTimeout(shownFor);
    shownFor = setTimeout(label, 1800);
  };
  buttons.png.onclick = () => announce(`png:${data.step}`, { name: data.step.replace(/\W+/g, "-") });
  buttons.pin.onclick = () => {
    pinned = !pinned;
    announce(`pin:${data.step}`, { pinned });
    label();
  };
  buttons.data.onclick = () => trigger("asked", "data");
  buttons.code.onclick = () => trigger("asked", "code");

  return {
    update(component) {
      data = component.data;
      trigger = component.setTriggerValue;
      label();
      for (const [topic, serial] of Object.entries(data.acks)) publish(`ack:${topic}`, serial);
      if (data.status) publish(`status:${data.page}`, data.status);
      if (data.file && data.file.serial !== saved) {
        saved = data.file.serial;
        download(data.file.name, `data:${data.file.type};base64,${data.file.content}`);
      }
    },
    destroy() { clearTimeout(shownFor); },
  };
}

export default (component) => piece(component, create);
