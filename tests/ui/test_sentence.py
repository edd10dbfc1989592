"""What a live sentence sends to the browser."""

import base64
from typing import Any

import numpy as np
import pytest

from ui.live import sentence
from ui.live.sentence import Follow, live_sentence


@pytest.fixture
def say(monkeypatch):
    """Say a sentence and give back what was sent."""
    sent: dict[str, Any] = {}

    def one(text: str, **options: Any) -> dict[str, Any]:
        monkeypatch.setattr(
            sentence, "component", lambda name: lambda data, key: sent.update(data, name=name)
        )
        live_sentence(text, key="page.step.says", **options)
        return sent

    return one


def test_a_sentence_without_numbers(say):
    sent = say("All **stay**.", step="page.step", pinned="Kept")
    assert sent["name"] == "sentence"
    assert (sent["text"], sent["places"]) == ("All **stay**.", {})
    assert (sent["step"], sent["pinned"]) == ("page.step", "Kept")


def test_a_number_that_follows_one_slider(say):
    sent = say("{n} boxes", numbers={"n": Follow(["page.iou"], [3, 2, 1])})
    (place,) = sent["places"]["n"]
    assert place == {"topics": ["page.iou"], "shape": (3,), "values": [3, 2, 1]}


def test_a_number_that_follows_two_sliders_lies_row_by_row(say):
    values = np.arange(6).reshape(2, 3)
    sent = say("{n}", numbers={"n": Follow(["page.iou", "page.score"], values)})
    (place,) = sent["places"]["n"]
    assert place["shape"] == (2, 3)
    assert [place["values"][i * 3 + j] for i in range(2) for j in range(3)] == list(range(6))
    assert all(type(value) is int for value in place["values"])  # JSON knows no numpy


def test_texts_may_follow_a_slider(say):
    sent = say("{told}", numbers={"told": Follow(["page.round"], ["**first**", "second"])})
    assert sent["places"]["told"][0]["values"] == ["**first**", "second"]


def test_floats_are_sent_in_single_precision(say):
    sent = say("{n}", numbers={"n": Follow(["page.gain"], np.array([0.5, 1 / 3, np.inf]))})
    (place,) = sent["places"]["n"]
    assert place.keys() == {"topics", "shape", "floats"}
    found = np.frombuffer(base64.b64decode(place["floats"]), "<f4")
    assert found.tolist() == [0.5, pytest.approx(1 / 3, rel=1e-7), np.inf]


def test_a_number_may_follow_one_slider_or_another(say):
    sent = say("{n}", numbers={"n": [Follow(["page.row"], [1, 2]), Follow(["page.column"], [3])]})
    assert [place["topics"] for place in sent["places"]["n"]] == [["page.row"], ["page.column"]]
    assert [place["values"] for place in sent["places"]["n"]] == [[1, 2], [3]]


@pytest.mark.parametrize(
    ("topics", "values", "dimensions"),
    [
        ([], [1], 1),
        (["a"], 1, 0),
        (["a"], [[1, 2]], 2),
        (["a", "b"], [1, 2], 1),
    ],
)
def test_values_without_a_slider_each_are_refused_by_name(say, topics, values, dimensions):
    message = rf"numbers\['n'\] has {dimensions} dimensions for {len(topics)} topics"
    with pytest.raises(ValueError, match=message):
        say("{n}", numbers={"n": Follow(topics, values)})
