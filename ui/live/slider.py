"""The live slider: reports while it is dragged, one value in flight and the newest next."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from figures.words import readable
from ui.address import say, unless_default, written
from ui.live.channel import component

Scale = Literal["linear", "log"]
_SLOTS = "live.sliders"
_MOST_POSITIONS = 1001
_LONGEST_NUMBER = 32


@dataclass
class _Slot:
    """What the session remembers of a slider; `revision` grows when Python moves it."""

    value: Any
    released: Any
    serial: int = -1
    revision: int = 0


def positions(
    minimum: float, maximum: float, step: float | None = None, scale: Scale = "linear"
) -> list[Any]:
    """The values a slider stops at.

    Linear: from `minimum` to `maximum` by `step` (integers stay integers; by default 1 for
    integers, else 1/100 of the range). Log: `step` values a decade, 50 by default, rounded to
    three significant digits.

    >>> positions(1, 5, 2)
    [1, 3, 5]
    >>> positions(0.1, 10.0, 2, "log")
    [0.1, 0.316, 1.0, 3.16, 10.0]
    """
    if not -math.inf < minimum < maximum < math.inf:
        raise ValueError(f"minimum must be below maximum, both finite, got {minimum} and {maximum}")
    if step is not None and not 0 < step < math.inf:
        raise ValueError(f"step must be positive, got {step}")
    if scale == "log":
        return _log_positions(minimum, maximum, step or 50)
    whole = all(isinstance(v, int) for v in (minimum, maximum, step or 1))
    step = step or (1 if whole else (maximum - minimum) / 100)
    count = math.floor((maximum - minimum) / step + 1e-9) + 1
    _check_count(count, step)
    if whole:
        return [minimum + i * step for i in range(count)]
    digits = max(0, 2 - math.floor(math.log10(step)))
    return [round(minimum + i * step, digits) for i in range(count)]


def _log_positions(minimum: float, maximum: float, per_decade: float) -> list[float]:
    if minimum <= 0:
        raise ValueError(f"minimum must be positive on a log scale, got {minimum}")
    first, last = math.log10(minimum) * per_decade, math.log10(maximum) * per_decade
    _check_count(math.ceil(last - first) + 1, per_decade)
    inner = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    values = [minimum, *(10 ** (k / per_decade) for k in inner), maximum]
    return list(dict.fromkeys(float(f"{v:.3g}") for v in values))


def _check_count(count: int, step: float) -> None:
    if count > _MOST_POSITIONS:
        raise ValueError(f"step {step} makes {count} positions, allowed are {_MOST_POSITIONS}")


def three_digits(value: Any) -> str:
    """A number with three significant digits; whole numbers and names in full.

    >>> three_digits(0.05), three_digits(12345), three_digits(2.0), three_digits("ReLU")
    ('0.05', '12345', '2', 'ReLU')
    """
    return readable(value) if isinstance(value, float) else str(value)


def live_slider(
    label: str,
    values: Sequence[Any],
    value: Any,
    *,
    key: str,
    unit: str = "",
    format_value: Callable[[Any], str] = three_digits,
    ticks: Mapping[Any, str] | None = None,
    query: str | None = None,
    help: str = "",
    live: bool = True,
    play: bool = False,
    acknowledge: bool = True,
    on_release: Callable[[], None] | None = None,
    strings: Mapping[str, str] | None = None,
) -> Any:
    """A slider over `values`; returns the value it stands at.

    Args:
        values: the values it stops at: `positions(...)`, or any names.
        value: the default, one of `values`.
        key: unique in the app; also the topic under which its index is published in the
            browser, where figures, stages and sentences can follow it without the server.
        unit: written behind the value.
        format_value: value to text.
        ticks: values to mark, with their texts; by default the two ends.
        query: name in the URL; `None` keeps it out of the URL.
        live: report while dragged; otherwise on release only.
        play: offer back, play and forward.
        acknowledge: answer the browser with this very element. A page step answers when its
            figure is out instead, so that a slow computation is never overtaken.
        on_release: called when the slider is let go, before the script runs.
        strings: texts of the buttons: `back`, `play`, `pause`, `forward`.

    Raises:
        ValueError: if `value` is not among `values`.
    """
    values = list(values)
    if value not in values:
        raise ValueError(f"value must be one of values, got {value!r}")
    slot = _slot(key, values, value, query)
    _receive(key, slot, values)
    if query:
        say({query: unless_default(slot.released, value)})
    texts = [f"{format_value(v)}{f' {unit}' if unit else ''}" for v in values]
    marks = ticks if ticks is not None else {values[0]: texts[0], values[-1]: texts[-1]}

    def heard() -> None:
        _receive(key, slot, values)
        if on_release and _sent(key).get("done"):
            on_release()

    component("slider")(
        data={
            "topic": key,
            "label": label,
            "help": help,
            "texts": texts,
            "ticks": [[values.index(v), text] for v, text in marks.items() if v in values],
            "index": values.index(slot.value),
            "revision": slot.revision,
            "ack": slot.serial if acknowledge else None,
            "live": live,
            "play": play,
            "strings": dict(strings or {}),
        },
        key=key,
        on_sent_change=heard,
    )
    return slot.value


def slider_value(key: str) -> Any:
    """What a slider stands at that has been drawn before."""
    return st.session_state[_SLOTS][key].value


def released_value(key: str) -> Any:
    """Where a slider that has been drawn before was last let go: what a link says."""
    return st.session_state[_SLOTS][key].released


def move(key: str, value: Any, query: str | None = None) -> None:
    """Move a slider from Python, for presets and reset. Call it before the slider is drawn."""
    slots = st.session_state.setdefault(_SLOTS, {})
    slot = slots.setdefault(key, _Slot(value, value))
    slot.value = slot.released = value
    slot.revision += 1
    if query:
        say({query: written(value)})


def serial(key: str) -> int:
    """Number of the last report of this slider that Python has seen."""
    return st.session_state[_SLOTS][key].serial


def _slot(key: str, values: list[Any], default: Any, query: str | None) -> _Slot:
    slots = st.session_state.setdefault(_SLOTS, {})
    if key not in slots:
        asked = st.query_params.get(query) if query else None
        value = default if asked is None else parse(asked, values, default)
        slots[key] = _Slot(value, value)
    slot = slots[key]
    if slot.value not in values:
        slot.value = slot.released = parse(str(slot.value), values, default)
        slot.revision += 1
    return slot


def parse(text: str, values: Sequence[Any], default: Any) -> Any:
    """The value that a link means: the one written so, else the nearest number in range.

    >>> parse("0.52", [0.0, 0.5, 1.0], 0.0), parse("7", [0, 1], 1), parse("nan", [0, 1], 1)
    (0.5, 1, 1)
    """
    for value in values:
        if str(value) == text:
            return value
    numbers = [v for v in values if isinstance(v, int | float)]
    try:
        wanted = float(text) if len(text) <= _LONGEST_NUMBER else math.nan
    except ValueError:
        return default
    if len(numbers) < len(values) or not min(numbers) <= wanted <= max(numbers):
        return default
    return min(numbers, key=lambda v: abs(v - wanted))


def _sent(key: str) -> Mapping[str, Any]:
    state = st.session_state.get(key)
    sent = state.get("sent") if isinstance(state, Mapping) else None
    return sent if isinstance(sent, Mapping) else {}


def _receive(key: str, slot: _Slot, values: list[Any]) -> None:
    """Take over what the browser last reported; anything odd is ignored."""
    sent = _sent(key)
    index, number = sent.get("index"), sent.get("serial")
    if not isinstance(index, int) or not isinstance(number, int) or number == slot.serial:
        return
    slot.serial = number
    outdated = sent.get("revision") != slot.revision  # made before Python moved the slider
    if outdated or not 0 <= index < len(values):
        return
    slot.value = values[index]
    if sent.get("done"):
        slot.released = slot.value
