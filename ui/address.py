"""The address of the page: a link to exactly this state."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

_CARRIED = "address.carried"


def written(value: Any) -> str:
    """A control's value as it stands in an address.

    >>> written(True), written(0.5), written("grid"), written(["relu", "gelu"])
    ('1', '0.5', 'grid', 'relu,gelu')
    """
    if isinstance(value, list):
        return ",".join(map(written, value))
    return str(int(value)) if isinstance(value, bool) else str(value)


def say(parameters: Mapping[str, str | None]) -> None:
    """Let the address say these parameters, and nothing of those that are None."""
    for key, text in parameters.items():
        if text is None:
            st.query_params.pop(key, None)
        elif st.query_params.get(key) != text:
            st.query_params[key] = text


def carry(key: str, text: str) -> None:
    """Let the address say a parameter on every page from now on."""
    st.session_state.setdefault(_CARRIED, {})[key] = text
    say({key: text})


def carried() -> dict[str, str]:
    """What `carry` was given: a report may bring the address from before."""
    return st.session_state.get(_CARRIED, {})


def unless_default(value: Any, default: Any) -> str | None:
    """What the address says of a value: nothing of a default."""
    return None if value == default else written(value)
