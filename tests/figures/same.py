"""Whether a figure is sent as Plotly's own classes would send it."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from figures.plain import Figure


def differences(figure: Figure) -> list[str]:
    """Where the figure that is sent differs from the one that Plotly makes of it."""
    sent, checked = json.loads(figure.to_json()), json.loads(figure.checked.to_json())
    return _differ("", sent, checked)


def _differ(path: str, sent: Any, checked: Any) -> list[str]:
    if sent == checked:
        return []
    sent, checked = _decoded(sent), _decoded(checked)
    if isinstance(sent, Mapping) and isinstance(checked, Mapping):
        return [
            found
            for key in sent.keys() | checked.keys()
            for found in _differ(f"{path}.{key}", sent.get(key), checked.get(key))
        ]
    if isinstance(sent, list) and isinstance(checked, list) and len(sent) == len(checked):
        return [
            found
            for place, pair in enumerate(zip(sent, checked, strict=True))
            for found in _differ(f"{path}[{place}]", *pair)
        ]
    return [] if sent == checked or not (sent or checked) else [f"{path}: {sent!r} {checked!r}"]


def _decoded(value: Any) -> Any:
    """Typed arrays as lists, with None for what is not finite."""
    if not isinstance(value, Mapping) or "bdata" not in value:
        return value
    array = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).astype(object)
    array[[not np.isfinite(number) for number in array]] = None
    shape = [int(side) for side in value.get("shape", str(len(array))).split(",")]
    return array.reshape(shape).tolist()
