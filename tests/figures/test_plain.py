"""What a figure sends is what Plotly's own classes would send of it."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from figures.plain import Figure
from figures.style import TEMPLATE
from tests.figures.same import differences


def scatter(**trace):
    return Figure([{"type": "scatter", **trace}], {"template": TEMPLATE})


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, np.nan, np.inf]),
        np.array([1.5, -2.0], np.float32),
        np.array([0, 255], np.uint8),
        np.array([-128, 127]),
        np.array([-129, 0]),
        np.array([0, 2**15]),
        np.array([-(2**31), 2**31 - 1]),
        np.array([0, 2**31]),
        np.array([True, False]),
        np.array(["a", "b"]),
        np.array([]),
        np.arange(6.0).reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(8.0)[::2],
        [1, None, "a"],
        (1, 2),
        [np.float64(0.5), np.int64(3)],
    ],
    ids=str,
)
def test_values_are_sent_as_plotly_sends_them(values):
    assert differences(scatter(customdata=values)) == []


def test_a_tensor_is_sent_as_its_array():
    sent = json.loads(scatter(y=torch.tensor([1.0, 2.0])).to_json())
    assert sent == json.loads(scatter(y=np.array([1, 2], np.float32)).to_json())


def test_what_plotly_would_change_is_told():
    told = differences(scatter(marker={"colorscale": "RdBu"}))
    assert len(told) == 1
    assert "marker.colorscale" in told[0]
    assert differences(Figure([], {"template": TEMPLATE, "title": "in its old place"}))
    assert differences(scatter(line_color="red"))


def test_a_figure_of_plotlys_own_is_taken_as_it_is():
    theirs = go.Figure(go.Scatter(y=np.arange(3.0)), {"height": 200})
    ours = Figure.of(theirs)
    assert ours.plan["height"] == 200
    assert differences(ours) == []
