"""Live bars: a row of numbers set by dragging bars, reported while they are dragged."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ui.address import say
from ui.live.channel import component

_ROWS = "live.bars"
_LONGEST = 400


@dataclass
class _Row:
    """What the session remembers; `revision` grows when Python sets the bars."""

    values: list[float]
    serial: int = -1
    revision: int = 0


def live_bars(
    label: str,
    names: Sequence[str],
    default: Sequence[float],
    *,
    low: float,
    high: float,
    step: float,
    key: str,
    query: str,
    stacked: bool = False,
    power: bool = False,
    on_release: Callable[[], None] | None = None,
) -> list[float]:
    """A bar for each name, dragged up and down; returns their values.

    Args:
        names, default: of the bars, equally many.
        low, high, step: the values that a bar can take.
        key: unique in the app.
        query: name in the URL, which holds the values joined by commas.
        stacked: whether the bars lie, one below the other: names may then be long.
        power: whether a bar tells ten to the power of its value.
        on_release: called when a bar is let go, before the script runs.
    """
    rows = st.session_state.setdefault(_ROWS, {})
    if key not in rows:
        asked = read(st.query_params.get(query, ""), len(names), low, high)
        rows[key] = _Row(asked or list(default))
    row = rows[key]
    _receive(key, row, len(names), low, high)
    say({query: None if row.values == list(default) else written(row.values)})

    def heard() -> None:
        _receive(key, row, len(names), low, high)
        if on_release and _sent(key).get("done"):
            on_release()

    component("bars")(
        data={
            "topic": key,
            "label": label,
            "names": list(names),
            "values": row.values,
            "low": low,
            "high": high,
            "step": step,
            "stacked": stacked,
            "power": power,
            "revision": row.revision,
        },
        key=key,
        on_sent_change=heard,
    )
    return list(row.values)


def bars_serial(key: str) -> int:
    """Number of the last report of these bars that Python has seen."""
    return st.session_state[_ROWS][key].serial


def bars_values(key: str) -> list[float] | None:
    """What bars stand at that have been drawn before; None if there are none."""
    row = st.session_state.get(_ROWS, {}).get(key)
    return list(row.values) if row else None


def set_bars(key: str, values: Sequence[float]) -> None:
    """Set bars that have been drawn before; call it before they are drawn again."""
    row = st.session_state[_ROWS][key]
    row.values = list(values)
    row.revision += 1


def written(values: Sequence[float]) -> str:
    """Values as they stand in an address.

    >>> written([1.0, -2.5])
    '1,-2.5'
    """
    return ",".join(f"{value:g}" for value in values)


def read(text: str, count: int, low: float, high: float) -> list[float] | None:
    """The values that a link asks for; None unless there are `count` of them, all in range.

    >>> read("1,-2.5", 2, -3, 3), read("1,nan", 2, -3, 3), read("1", 2, -3, 3)
    ([1.0, -2.5], None, None)
    """
    parts = text.split(",") if len(text) <= _LONGEST else []
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return _checked(values, count, low, high)


def _checked(values: Any, count: int, low: float, high: float) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if not all(
        isinstance(v, int | float) and math.isfinite(v) and low <= v <= high for v in values
    ):
        return None
    return [float(value) for value in values]


def _sent(key: str) -> Mapping[str, Any]:
    state = st.session_state.get(key)
    sent = state.get("sent") if isinstance(state, Mapping) else None
    return sent if isinstance(sent, Mapping) else {}


def _receive(key: str, row: _Row, count: int, low: float, high: float) -> None:
    """Take over what the browser last reported; anything odd is ignored."""
    sent = _sent(key)
    number = sent.get("serial")
    if not isinstance(number, int) or number == row.serial:
        return
    row.serial = number
    values = _checked(sent.get("values"), count, low, high)
    if values is not None and sent.get("revision") == row.revision:
        row.values = values
