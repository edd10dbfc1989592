"""The toolbar below every step: link, picture, data, pin, code."""

import base64
import csv
import io
import time
from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from ui import chooser, language
from ui.language import translate as _
from ui.live.channel import component
from ui.recipe import Recipe
from ui.run import Call

_OPEN = "toolbar.open"


def toolbar(
    step: str,
    page: str,
    *,
    offers: Sequence[str],
    tables: Mapping[str, np.ndarray],
    acknowledgements: Mapping[str, int],
    calls: Sequence[Call],
) -> bool:
    """Draw the toolbar of a step, its last element; returns whether its code is to be shown.

    Args:
        step, page: full name of the step, id of the page.
        offers: which of `link`, `png`, `data`, `pin` and `code` make sense for the step.
        tables: columns of the step's data.
        acknowledgements: the slider reports that this run has answered.
        calls: what has been computed.
    """
    key = f"{step}.toolbar"
    state = st.session_state.get(key)
    asked = state.get("asked") if isinstance(state, Mapping) else None
    opened = st.session_state.setdefault(_OPEN, set())
    data = {
        "step": step,
        "page": page,
        "offers": list(offers),
        "acks": dict(acknowledgements),
        "code": step in opened,
        "link": {"lang": language.current(), "photo": chooser.link_name()},
        "file": _file(step, tables) if asked == "data" else None,
        "status": _status(calls),
        "strings": {
            "link": _("Copy link"),
            "copied": _("Copied"),
            "png": _("PNG"),
            "data": _("Data"),
            "pin": _("Pin"),
            "unpin": _("Unpin"),
            "code": _("Code"),
        },
    }
    component("toolbar")(data=data, key=key, on_asked_change=lambda: _toggle(key, step))
    return step in opened


def code(recipe: Recipe) -> None:
    """Show the source of what ran, and a script that repeats it."""
    with st.container(border=True):
        source, script = st.tabs([_("The functions that ran"), _("A script with these numbers")])
        source.code(recipe.source(), language="python", height=420)
        script.caption(_("Save it in the repository's root and run it with Python."))
        script.code(recipe.script(), language="python")


def _toggle(key: str, step: str) -> None:
    if st.session_state[key].get("asked") == "code":
        st.session_state.setdefault(_OPEN, set()).symmetric_difference_update({step})


def _file(step: str, tables: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The data as a CSV if its columns are lists of one length, else as an NPZ."""
    name = step.replace(".", "-")
    shapes = {column.shape for column in tables.values()}
    if len(shapes) == 1 and len(shapes.pop()) == 1:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(tables)
        writer.writerows(zip(*(column.tolist() for column in tables.values()), strict=True))
        content, name, kind = text.getvalue().encode(), f"{name}.csv", "text/csv"
    else:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **tables)
        content, name, kind = buffer.getvalue(), f"{name}.npz", "application/octet-stream"
    encoded = base64.b64encode(content).decode()
    return {"serial": str(time.time_ns()), "name": name, "type": kind, "content": encoded}


def _status(calls: Sequence[Call]) -> str:
    if not calls:
        return ""
    milliseconds = sum(call.milliseconds for call in calls)
    shown = f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"
    return f"{calls[-1].device.upper()} · {shown} ms"
