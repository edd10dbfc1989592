"""How Python and the browser's half of a live piece talk to one another.

Every live piece (slider, figure, stage, …) is a Streamlit component whose JavaScript lies in
`browser/<name>.js`. Streamlit sends a component's script along with every message, so the script
registered here is only a loader; the modules themselves are fetched once and cached.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import streamlit as st
import streamlit.components.v1 as components_v1
from streamlit.components.v2.bidi_component import main as bidi_component

_BROWSER = Path(__file__).parent / "browser"
_PLOTLY = Path(plotly.__file__).parent / "package_data"
_RESOURCE_BYTES = 16_384
_SHARED = "live.shared"
_PACKED = {"figure", "stage", "resource"}
_ALIGNMENT = 8
_DTYPES = {"b1": "u1", "i8": "i4", "f8": "f4", "u8": "u4"}

_LOADER = """
// Loads the real module once; every call before it is there waits for it.
const base = new URL("BASE", document.baseURI).href;
const loading = import(base + "NAME.js");
export default function (sent) {
  let cleanup = null;
  let gone = false;
  loading.then((module) => {
    if (gone) return;
    const data = PACKED ? sent.data : JSON.parse(new TextDecoder().decode(sent.data));
    cleanup = module.default({ ...sent, data }, base);
  });
  return () => {
    gone = true;
    if (cleanup) cleanup();
  };
}
"""


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(_BROWSER.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _serve(name: str, folder: Path) -> str:
    """Serve `folder` under a path of its own; returns that path, with a slash at its end."""
    declared = components_v1.declare_component(name, path=str(folder))
    prefix = st.get_option("server.baseUrlPath").strip("/")
    return f"{'/' + prefix if prefix else ''}/component/{declared.name}/"


@functools.cache
def browser_path() -> str:
    """URL path of our JavaScript; it changes with its content, so it may be cached for ever."""
    return _serve(f"live_{_version()}", _BROWSER)


@functools.cache
def plotly_url() -> str:
    """URL path of Plotly's script in the installed package."""
    return _serve("plotly_" + plotly.__version__.replace(".", "_"), _PLOTLY) + "plotly.min.js"


def present_plainly() -> None:
    """Let the session's state show what live pieces have reported as it is.

    Streamlit makes a class for every piece at each look at the session's state, and looks at all of
    it for every widget: a fifth of a light change, and most of what the garbage collector finds.
    """
    bidi_component.make_bidi_component_presenter = _presenter


def _presenter(triggers: str, *_others: Any) -> Callable[[Any, Any], Any]:
    """What shows a piece's state, with what has been triggered in this run.

    Args:
        triggers: the widget that Streamlit keeps them in.
    """

    def present(state: Any, session: Any) -> Any:
        try:
            events = session._new_widget_state[triggers]
        except KeyError:
            events = None
        if not events or not isinstance(state, dict):
            return state
        return {event["event"]: event["value"] for event in events} | state

    return present


@functools.cache
def component(name: str) -> Callable[..., Any]:
    """The mount function of the live piece whose browser half is `browser/<name>.js`.

    Its data is a block of `pack` for the pieces in `_PACKED`, a dict for the others. That is sent
    as JSON of our own: Streamlit would write it twice and look at each value for a table.
    """
    packed = name in _PACKED
    script = _LOADER.replace("BASE", browser_path()).replace("NAME", name)
    script = script.replace("PACKED", json.dumps(packed))
    mounted = st.components.v2.component(f"live.{name}", js=script, isolate_styles=False)

    def mounted_with(*, data: bytes | Mapping[str, Any], **options: Any) -> Any:
        sent = data if packed else _as_json(data)
        return mounted(data=sent, **options)

    return mounted_with


def _as_json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def pack(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray | bytes | str]) -> bytes:
    """One block of bytes: a JSON header, then the raw arrays. Undone by `unpack` in `shared.js`.

    A `str` in place of an array is the digest of a resource that is sent by itself.
    Bytes arrive as a `Uint8Array` only if they are the whole of a component's data.

    >>> pack({"a": 1}, {})[4:].decode().rstrip()
    '{"meta":{"a":1},"arrays":{}}'
    """
    places: dict[str, Any] = {}
    chunks: list[bytes] = []
    offset = 0
    for name, value in arrays.items():
        if isinstance(value, str):
            places[name] = {"resource": value}
            continue
        array = _compact(value)
        places[name] = {"dtype": array.dtype.str[1:], "shape": array.shape, "offset": offset}
        chunk = array.tobytes()
        chunks.append(chunk + bytes(-len(chunk) % _ALIGNMENT))
        offset += len(chunks[-1])
    header = _as_json({"meta": meta, "arrays": places})
    header += b" " * (-(len(header) + 4) % _ALIGNMENT)
    return len(header).to_bytes(4, "little") + header + b"".join(chunks)


def _compact(value: np.ndarray | bytes) -> np.ndarray:
    array = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else np.asarray(value)
    kind = array.dtype.str[1:]
    compact = np.ascontiguousarray(array, dtype="<" + _DTYPES.get(kind, kind))
    if kind in ("i8", "u8") and not np.array_equal(compact, array):
        raise ValueError(f"arrays must hold integers within {compact.dtype}, the browser's largest")
    return compact


def mount(
    name: str,
    meta: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray | bytes],
    *,
    key: str,
    **events: Callable[[], None],
) -> Any:
    """Mount a live piece with arrays.

    Large arrays travel as elements of their own: as long as one stays the same, Streamlit
    sends its hash alone, so a slider that recolours 20,000 boxes does not send them again.
    """
    carried = set(st.session_state.get(_SHARED, ()))
    with st.container(gap=None):
        sent = {place: _carry(value, f"{key}.{place}", carried) for place, value in arrays.items()}
        return component(name)(data=pack(meta, sent), key=key, **events)


def share(value: np.ndarray | bytes, *, key: str) -> None:
    """Carry an array for every piece of the page, such as the photo under several stages.

    Call it in the page itself, not in a fragment, and `forget_shared` before the first one.
    """
    array = _compact(value)
    digest = _digest(array)
    _resource(array, digest, key)
    st.session_state.setdefault(_SHARED, set()).add(digest)


def forget_shared() -> None:
    """Start a page: nothing is shared yet."""
    st.session_state[_SHARED] = set()


def _carry(value: np.ndarray | bytes, key: str, carried: set[str]) -> np.ndarray | str:
    """What stands for an array in a packed block: itself, or its digest if it is large."""
    array = _compact(value)
    if array.nbytes < _RESOURCE_BYTES:
        return array
    digest = _digest(array)
    if digest not in carried:
        _resource(array, digest, key)
        carried.add(digest)
    return digest


def _resource(array: np.ndarray, digest: str, key: str) -> None:
    component("resource")(data=pack({"digest": digest}, {"value": array}), key=f"{key}.resource")


def _digest(array: np.ndarray) -> str:
    content = hashlib.blake2b(array.tobytes(), digest_size=12).hexdigest()
    return f"{content}-{array.dtype.str[1:]}-{'x'.join(map(str, array.shape))}"
