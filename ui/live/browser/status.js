// Device and milliseconds of the page's last computation, told by the step that ran it.
import { piece, subscribe } from "./shared.js";

function create(root) {
  root.classList.add("live-status");
  let topic = null;
  let unsubscribe = null;
  return {
    update({ data }) {
      if (topic === data.topic) return;
      topic = data.topic;
      unsubscribe?.();
      unsubscribe = subscribe(topic, (text) => { root.textContent = text; });
    },
    destroy() { unsubscribe?.(); },
  };
}

export default (component) => piece(component, create);
