// Invisible: tells screen readers, hyphenation and fonts which language the page is in, and asks for
// the whole page when the connection is back. A server that has begun anew knows nothing of it.
import { onConnect, piece } from "./shared.js";

function create() {
  let ask = null;
  const ignore = onConnect(() => ask("anew", true));
  return {
    update({ data, setTriggerValue }) {
      ask = setTriggerValue;
      document.documentElement.lang = data.language;
    },
    destroy: ignore,
  };
}

export default (component) => piece(component, create);
