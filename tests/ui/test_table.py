"""A table that the visitor edits: what an edit makes of the text, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from ui.table import Column, Format

SCRIPT = """
import streamlit as st
from ui.controls import Controls
from ui.table import Column, Format

def read(text):
    rows = [dict(zip("ab", map(int, part.split(".")), strict=True)) for part in text.split("_")]
    if sum(row["a"] for row in rows) > 50:
        raise ValueError("too much")
    return [row | {"sum": row["a"] + row["b"]} for row in rows]

def write(rows):
    return "_".join(f"{row['a']}.{row['b']}" for row in rows)

columns = {"a": Column("A", 80, 1, 31), "b": Column("B", 80, 0, 9), "sum": Column("Sum", 60)}
step = Controls("page", "step", st.container())
step.presets({"Preset": {"table": "9.9"}})
form = Format(columns, read, write, most=4)
st.text(step.editor("numbers", "1.2_3.4", form, key="table", add="Add"))
step.reset()
step.keep_address()
"""


def run(**query):
    app = AppTest.from_string(SCRIPT)
    app.query_params.update(query)
    return app.run()


def text(app):
    assert not app.exception
    return app.text[0].value


def address(app):
    found = app.query_params.get("table")
    return found[0] if isinstance(found, list) else found


def edit(app, **cells):
    """Type into the table: `edit(app, a0=5)` writes 5 into column a of the first row."""
    rows = {}
    for cell, value in cells.items():
        rows.setdefault(int(cell[1:]), {})[cell[0]] = value
    states = app._tree.get_widget_states()
    report = {"edited_rows": rows, "added_rows": [], "deleted_rows": []}
    states.widgets.add(id=app.data_editor[0].proto.id, string_value=json.dumps(report))
    return app._run(states)


def test_the_default_stays_out_of_the_address():
    app = run()
    assert text(app) == "1.2_3.4"
    assert address(app) is None
    assert app.data_editor[0].value["sum"].tolist() == [3, 7]


def test_a_link_opens_its_rows():
    assert text(run(table="5.6_7.8_9.0")) == "5.6_7.8_9.0"


@pytest.mark.parametrize(
    "nonsense",
    ["", "x", "1", "0.1", "32.1", "1.10", "-1.2", "1.2_", "1.1_1.1_1.1_1.1_1.1", "9" * 10_000, "²"],
    ids=lambda text: text[:12],
)
def test_nonsense_in_a_link_opens_the_default(nonsense):
    app = run(table=nonsense)
    assert text(app) == "1.2_3.4"
    assert not app.warning


def test_a_row_is_repeated():
    app = run()
    for wanted in ("1.2_3.4_3.4", "1.2_3.4_3.4_3.4"):
        app.button(key="page.table.add").click().run()
        app.run()
        assert text(app) == wanted
        assert address(app) == wanted
    app.button(key="page.table.add").click().run()
    assert text(app) == "1.2_3.4_3.4_3.4"
    assert "4" in app.warning[0].value


def test_an_edited_cell_changes_the_text_and_what_follows():
    app = edit(run(), a1=7)
    assert text(app) == address(app) == "1.2_7.4"
    app = edit(app, a1=7, b0=0)
    assert text(app) == "1.0_7.4"
    assert app.data_editor[0].value["sum"].tolist() == [1, 11]


@pytest.mark.parametrize(
    "value", [0, 32, None, -1, 10**30, 1.5, 1e308, True, "seven", "x" * 100_000, [1], {"a": 1}]
)
def test_an_edit_that_is_refused_is_told_and_taken_back(value):
    app = edit(run(), a0=value)
    assert text(app) == "1.2_3.4"
    assert "A must be a whole number from 1 to 31" in app.warning[0].value
    app = edit(app, a0=5)
    assert text(app) == "5.2_3.4"
    assert not app.warning


def test_a_whole_that_is_refused_is_told():
    app = edit(run(), a0=30, a1=30)
    assert text(app) == "1.2_3.4"
    assert app.warning[0].value == "too much"


def test_presets_and_reset_replace_the_rows():
    app = run(table="5.6")
    app.button(key="page.step.preset.Preset").click().run()
    assert text(app) == "9.9"
    assert app.data_editor[0].value["a"].tolist() == [9]
    app.button(key="page.step.reset").click().run()
    assert text(app) == "1.2_3.4"


# ---------------------------------------------------------------- what a column allows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
    max_leaves=5,
)
FORM = Format(
    {"a": Column("A", 80, 1, 9), "shown": Column("S", 60)},
    read=lambda text: [{"a": int(part), "shown": None} for part in text.split("_")],
    write=lambda rows: "_".join(str(row["a"]) for row in rows),
    most=2,
)


@pytest.mark.parametrize("value", [0, 10, 2.0, None, "3", True, float("nan")])
def test_only_whole_numbers_in_range(value):
    with pytest.raises(ValueError, match="A must be a whole number from 1 to 9"):
        FORM.check([{"a": value, "shown": 0}])


@given(JSON)
def test_whatever_a_browser_sends_for_a_cell(value):
    """It is a number in range or refused in a sentence."""
    row = {"a": value, "shown": value}
    if type(value) is int and 1 <= value <= 9:
        FORM.check([row])
    else:
        with pytest.raises(ValueError, match=r"^A must be a whole number from 1 to 9\.$"):
            FORM.check([row])


@given(st.text() | st.lists(st.integers(), max_size=300).map(lambda n: "_".join(map(str, n))))
def test_whatever_a_link_says_of_the_rows(text):
    try:
        rows = FORM.parse(text)
    except ValueError:
        return
    assert 1 <= len(rows) <= 2
    assert all(1 <= row["a"] <= 9 for row in rows)


def test_the_number_of_rows_is_bounded():
    assert FORM.parse("1_9") == [{"a": 1, "shown": None}, {"a": 9, "shown": None}]
    with pytest.raises(ValueError, match="1 to 2 rows"):
        FORM.parse("1_1_1")
    with pytest.raises(ValueError, match="1 to 2 rows"):
        FORM.check([])
