"""The page's language: labels by gettext, prose by Markdown files."""

import functools
import gettext
import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import polib
import streamlit as st

from ui import address

LANGUAGES = {"en": "English", "zh": "简体中文"}
DEFAULT = "en"
LOCALE = Path(__file__).parent.parent / "assets" / "locale"
_STATE = "language"
_settled: ContextVar[str | None] = ContextVar("settled_language", default=None)


def current() -> str:
    """The visitor's choice, else the link's, else the browser's."""
    chosen = st.session_state.get(_STATE)
    if chosen in LANGUAGES:
        return chosen
    asked = st.query_params.get("lang")
    if asked in LANGUAGES:
        return asked
    return "zh" if (st.context.locale or "").lower().startswith("zh") else DEFAULT


def choose(language: str) -> None:
    """Switch the language; the link then carries it."""
    st.session_state[_STATE] = language
    address.carry("lang", language)


def translate(message: str) -> str:
    """The label in the page's language. Used as `_("IoU threshold")`."""
    return catalogue(_settled.get() or current()).gettext(message)


@contextmanager
def settled() -> Iterator[None]:
    """Inside the `with` block the language stays: a step asks for a thousand labels."""
    token = _settled.set(current())
    try:
        yield
    finally:
        _settled.reset(token)


@functools.cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The labels of a language, read from its `.po` file; English is in the code itself."""
    path = LOCALE / language / "LC_MESSAGES" / "messages.po"
    if not path.exists():
        return gettext.NullTranslations()
    return gettext.GNUTranslations(io.BytesIO(polib.pofile(str(path)).to_binary()))
