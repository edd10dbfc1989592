"""A table that the visitor edits: whole numbers in rows that can be added, moved and removed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from ui.language import translate as _

Row = dict[str, Any]

_ROW_HEIGHT = 35
_MOST_SHOWN = 8


@dataclass(frozen=True)
class Column:
    """A column of whole numbers from `low` to `high`, or one that is shown only.

    Args:
        label: its heading.
        width: in pixels.
        low: the least number allowed; None if the visitor cannot edit the column.
        high: the greatest number allowed.
    """

    label: str
    width: int
    low: int | None = None
    high: int | None = None

    def check(self, value: Any) -> None:
        """Raise `ValueError` with a sentence for the visitor if the value is not allowed."""
        if self.low is None:
            return
        if type(value) is not int or not self.low <= value <= self.high:
            sentence = _("{column} must be a whole number from {low} to {high}.")
            raise ValueError(sentence.format(column=self.label, low=self.low, high=self.high))


@dataclass(frozen=True)
class Format:
    """How a table's rows are written as text.

    Args:
        columns: by their names in a row.
        read: the rows that a text means, with what is shown only; `ValueError` carries a sentence
            for the visitor if it means none.
        write: the text of rows.
        most: rows allowed; one is the least.
    """

    columns: Mapping[str, Column]
    read: Callable[[str], list[Row]]
    write: Callable[[Sequence[Row]], str]
    most: int

    def check(self, rows: Sequence[Row]) -> None:
        """Raise `ValueError` with a sentence for the visitor if a number is out of its range."""
        if not 1 <= len(rows) <= self.most:
            raise ValueError(_("The table has 1 to {most} rows.").format(most=self.most))
        for row in rows:
            for name, column in self.columns.items():
                column.check(row[name])

    def parse(self, text: str) -> list[Row]:
        """The rows that a text means, checked."""
        rows = self.read(text)
        self.check(rows)
        return rows


def editable_table(
    text: str,
    form: Format,
    accept: Callable[[str], None],
    *,
    key: str,
    label: str,
    add: str,
) -> None:
    """Show the rows of `text`; tell `accept` in a callback what the visitor makes of them.

    A change that leads to no table is not accepted: a sentence says why, and the numbers from
    before come back.

    Args:
        text: as `form` reads it.
        key: of the table in the session.
        label: what it is, for screen readers.
        add: the button that repeats the last row.
    """
    state = st.session_state.setdefault(f"{key}.table", {"text": text, "count": 0, "why": ""})
    if state["text"] != text:  # not by an edited cell: the editor begins anew
        state.update(text=text, count=state["count"] + 1, why="")
    rows = form.parse(text)
    editor, up, drop = (f"{key}.{part}.{state['count']}" for part in ("rows", "up", "drop"))

    def change(edited: list[Row], stays: bool = False) -> None:
        try:
            form.check(edited)
            changed = form.write(edited)
            form.parse(changed)
        except ValueError as error:
            state.update(count=state["count"] + 1, why=str(error))
            return
        state["why"] = ""
        if stays:
            state["text"] = changed
        if changed != text:
            accept(changed)

    def edit() -> None:
        cells = st.session_state[editor]["edited_rows"]
        change([row | cells.get(place, {}) for place, row in enumerate(rows)], stays=True)

    def move() -> None:
        row = st.session_state[up]["row"]
        change([*rows[: max(row - 1, 0)], *rows[max(row - 1, 0) : row + 1][::-1], *rows[row + 1 :]])

    def remove() -> None:
        row = st.session_state[drop]["row"]
        change([*rows[:row], *rows[row + 1 :]])

    configured = {name: _configured(column) for name, column in form.columns.items()}
    st.data_editor(
        [row | {"up": "↑", "drop": "×"} for row in rows],
        key=editor,
        on_change=edit,
        column_config=configured | {"up": _button(up, move), "drop": _button(drop, remove)},
        column_order=[*configured, "up", "drop"],
        hide_index=True,
        height=_ROW_HEIGHT * (min(len(rows), _MOST_SHOWN) + 1) + 2,
        alt=label,
    )
    if state["why"]:
        st.warning(state["why"], icon=":material/warning:")
    st.button(
        add,
        key=f"{key}.add",
        icon=":material/add:",
        type="tertiary",
        on_click=lambda: change([*rows, rows[-1]]),
    )


def _button(name: str, react: Callable[[], None]) -> Any:
    return st.column_config.ButtonColumn("", key=name, type="tertiary", width=32, on_click=react)


def _configured(column: Column) -> Any:
    if column.low is None:
        return st.column_config.Column(column.label, width=column.width, disabled=True)
    return st.column_config.NumberColumn(
        column.label,
        width=column.width,
        min_value=column.low,
        max_value=column.high,
        step=1,
        required=True,
    )
