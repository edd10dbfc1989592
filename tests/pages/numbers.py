"""What in a figure, a layer or a sentence is no finite number."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

GAPS_SAID = re.compile(r"diverge|left the map|no height|发散|离开地图|没有高度", re.IGNORECASE)
_WORDS = re.compile(r"(?<![\w\\])-?(nan|inf)(?!\w)", re.IGNORECASE)


def not_numbers(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where there is NaN ("gap") or infinity ("infinite"), in whatever depth.

    NaN in x and y alike only lifts the pen between two lines.
    """
    arrays = {key: numeric(value) for key, value in values.items()}
    nan = {key: np.isnan(array) for key, array in arrays.items() if array is not None}
    x, y = nan.get("x"), nan.get("y")
    lifted = x is not None and y is not None and x.shape == y.shape and (x == y).all()
    for key, array in arrays.items():
        if isinstance(values[key], Mapping):
            yield from not_numbers(f"{name}.{key}", values[key])
        elif array is not None:
            if nan[key].any() and not (lifted and key in "xy"):
                yield "gap", f"{name}.{key}"
            if np.isinf(array).any():
                yield "infinite", f"{name}.{key}"


def numeric(value: Any) -> np.ndarray | None:
    """The numbers that a value holds, None where there is none; None if it holds no numbers."""
    if isinstance(value, str | bytes | Mapping) or value is None:
        return None
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None


def words(text: str) -> list[str]:
    """What reads like no number in a sentence or a formula.

    >>> words("at step 3 the height is nan, of $-inf$"), words("an infant in Nancy")
    (['nan', 'inf'], [])
    """
    return [found.lower() for found in _WORDS.findall(text)]
