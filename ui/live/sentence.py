"""One sentence with live numbers; they can follow sliders in the browser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ui.live.channel import component


@dataclass(frozen=True)
class Follow:
    """Values of one place in a sentence over all positions of one or more sliders.

    Attributes:
        topics: keys of the sliders, one for each dimension of `values`.
        values: numbers or texts, `[positions of the first slider, …]`.
    """

    topics: Sequence[str]
    values: Sequence[Any] | np.ndarray


def live_sentence(
    text: str,
    *,
    key: str,
    numbers: Mapping[str, Follow] | None = None,
    step: str = "",
    pinned: str = "Pinned",
) -> None:
    """Show `text`; a place `{name}` follows the sliders of `numbers[name]`.

    `**bold**` is the only mark-up. Changes are announced politely to screen readers.
    """
    places = {}
    for name, follow in (numbers or {}).items():
        values = np.asarray(follow.values)
        if values.ndim != len(follow.topics):
            raise ValueError(
                f"numbers[{name!r}] has {values.ndim} dimensions for {len(follow.topics)} topics"
            )
        places[name] = {
            "topics": list(follow.topics),
            "shape": values.shape,
            "values": values.ravel().tolist(),
        }
    data = {"text": text, "places": places, "step": step, "pinned": pinned}
    component("sentence")(data=data, key=key)
