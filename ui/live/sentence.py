"""One sentence with live numbers; they can follow sliders in the browser."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ui.live.channel import component


@dataclass(frozen=True)
class Follow:
    """Values of one place in a sentence or a table over all positions of one or more sliders.

    Attributes:
        topics: keys of the sliders, one for each dimension of `values`.
        values: whole numbers or texts, `[positions of the first slider, …]`; or an array of
            floats from 0 on, which the browser tells in two or three digits, as `1.5`, `2·10⁻¹⁷` or
            `∞`. Thousands of floats are a tenth of what their texts are.
    """

    topics: Sequence[str]
    values: Sequence[Any] | np.ndarray


Moving = Follow | Sequence[Follow]
"""What a place follows; of several `Follow`s the one counts whose slider moved last."""


def live_sentence(
    text: str,
    *,
    key: str,
    numbers: Mapping[str, Moving] | None = None,
    step: str = "",
    pinned: str = "Pinned",
) -> None:
    """Show `text`; a place `{name}` follows the sliders of `numbers[name]`.

    `**bold**` is the only mark-up. Changes are announced politely to screen readers.

    Raises:
        ValueError: if a `Follow` has not one topic for each dimension of its values.
    """
    places = {name: place(f"numbers[{name!r}]", moving) for name, moving in (numbers or {}).items()}
    data = {"text": text, "places": places, "step": step, "pinned": pinned}
    component("sentence")(data=data, key=key)


def place(name: str, moving: Moving, rows: bool = False) -> list[dict[str, Any]]:
    """A place as the browser takes it.

    Args:
        name: what errors call it.
        rows: whether the values have one dimension more than topics.
    """
    follows = [moving] if isinstance(moving, Follow) else moving
    return [_sent(name, follow, rows) for follow in follows]


def _sent(name: str, follow: Follow, rows: bool) -> dict[str, Any]:
    values = np.asarray(follow.values)
    if values.ndim != len(follow.topics) + rows:
        and_rows = " and the rows" if rows else ""
        raise ValueError(
            f"{name} has {values.ndim} dimensions for {len(follow.topics)} topics{and_rows}"
        )
    sent = {"topics": list(follow.topics), "shape": values.shape}
    if values.dtype.kind == "f":
        return sent | {"floats": base64.b64encode(values.astype("<f4").tobytes()).decode()}
    return sent | {"values": values.ravel().tolist()}
