"""The file behind the button "Data": what a table program, or NumPy, reads in it."""

import base64
import csv
import io
from typing import Any

import numpy as np
import pytest

from ui.toolbar import _file


def content(file: dict[str, str]) -> bytes:
    return base64.b64decode(file["content"])


def test_columns_of_one_length_make_a_table() -> None:
    names = np.array(['a "b", c', "猫"])
    columns = {"number": np.array([0.1, 3.0]), "name, told": names, "is": np.array([True, False])}
    file = _file("page.step", columns)
    assert (file["name"], file["type"]) == ("page-step.csv", "text/csv")
    rows = list(csv.reader(io.StringIO(content(file).decode())))
    assert rows == [list(columns), ["0.1", 'a "b", c', "True"], ["3.0", "猫", "False"]]


@pytest.mark.parametrize(
    "columns",
    [
        {"gate": np.arange(6.0).reshape(2, 3)},
        {"one": np.zeros((2, 3)), "other": np.ones((2, 3))},
        {"short": np.zeros(2), "long": np.zeros(3)},
        {"number": np.array(1.5)},
    ],
    ids=["a map", "two maps", "two lengths", "a number"],
)
def test_anything_else_makes_arrays(columns: dict[str, Any]) -> None:
    file = _file("page.step", columns)
    assert (file["name"], file["type"]) == ("page-step.npz", "application/octet-stream")
    found = np.load(io.BytesIO(content(file)))
    assert set(found) == set(columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column)
