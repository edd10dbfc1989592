"""What a table that follows sliders sends to the browser."""

from typing import Any

import pytest

from ui.live import table
from ui.live.sentence import Follow
from ui.live.table import live_table


@pytest.fixture
def sent(monkeypatch) -> dict[str, Any]:
    """What was sent last."""
    data: dict[str, Any] = {}

    def component(name: str) -> Any:
        assert name == "table"
        return lambda **sent: data.update(sent["data"])

    monkeypatch.setattr(table, "component", component)
    return data


def test_rows_are_the_last_dimension(sent):
    of_one, of_two = Follow(["a"], [["x", "y"], ["z", "w"]]), Follow(["b"], [["u", "v"]])
    live_table({"token": [of_one, of_two], "weight": of_one}, key="page.table")
    assert sent["headings"] == ["token", "weight"]
    assert sent["rows"] == 2
    assert sent["columns"][0] == [
        {"topics": ["a"], "shape": (2, 2), "values": ["x", "y", "z", "w"]},
        {"topics": ["b"], "shape": (1, 2), "values": ["u", "v"]},
    ]


def test_columns_of_different_lengths_are_refused(sent):
    columns = {"one": Follow(["a"], [["x"]]), "two": Follow(["a"], [["x", "y"]])}
    with pytest.raises(ValueError, match=r"columns have \[1, 2\] rows"):
        live_table(columns, key="page.table")


def test_a_dimension_too_few_is_refused_by_name(sent):
    with pytest.raises(ValueError, match=r"columns\['one'\] has 1 dimensions for 1 topics"):
        live_table({"one": Follow(["a"], ["x", "y"])}, key="page.table")
