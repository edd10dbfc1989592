"""Where a slider stops, what a link may ask of it, and what it believes of a browser."""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as any_

from ui import address
from ui.live import slider
from ui.live.slider import (
    live_slider,
    move,
    parse,
    positions,
    released_value,
    serial,
    slider_value,
    three_digits,
)

TENTHS = positions(0.0, 1.0, 0.1)
LONG = "9" * 100_000


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize(
    ("arguments", "stops"),
    [
        ((1, 5), [1, 2, 3, 4, 5]),
        ((1, 6, 2), [1, 3, 5]),  # the end is left out where no step reaches it
        ((-1, 1), [-1, 0, 1]),
        ((0.0, 0.5, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        ((0, 1, 0.25), [0.0, 0.25, 0.5, 0.75, 1.0]),
        ((-0.3, 0.3, 0.3), [-0.3, 0.0, 0.3]),
        ((1e-3, 3e-3, 1e-3), [0.001, 0.002, 0.003]),
        ((1, 100, 1, "log"), [1.0, 10.0, 100.0]),
        ((5, 20, 1, "log"), [5.0, 10.0, 20.0]),  # both ends, also where they are no round powers
        ((1e-5, 1e-3, 1, "log"), [1e-5, 1e-4, 1e-3]),
    ],
)
def test_a_slider_stops_at(arguments, stops):
    found = positions(*arguments)
    assert found == stops
    assert [type(stop) for stop in found] == [type(stop) for stop in stops]


def test_positions_by_default():
    assert len(positions(0.0, 3.0)) == 101
    assert len(positions(0.1, 10.0, scale="log")) == 101


@given(any_.floats(-1e6, 1e6), any_.floats(1e-3, 1e6), any_.integers(1, 300), any_.booleans())
def test_positions_rise_from_end_to_end(minimum, width, steps, log):
    if log:
        minimum = abs(minimum) + 1e-3
        found = positions(minimum, minimum * 2 + width, min(steps, 50), "log")
        assert found[0] == float(f"{minimum:.3g}")
        assert found[-1] == float(f"{minimum * 2 + width:.3g}")
    else:
        found = positions(minimum, minimum + width, width / steps)
        assert len(found) in (steps, steps + 1)
        assert found[0] == pytest.approx(minimum, abs=width / steps / 100)
    assert all(a < b for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((1, 1), "minimum"),
        ((2, 1), "minimum"),
        ((math.nan, 1.0), "minimum"),
        ((0.0, math.nan), "maximum"),
        ((0.0, 1.0, 10, "log"), "minimum"),
        ((-1.0, 1.0, 10, "log"), "minimum"),
        ((0, 1001), "step"),
        ((0.0, 1.0, 1e-9), "step"),
        ((0.0, 1.0, -0.1), "step"),
        ((0.0, 1.0, math.nan), "step"),
        ((0.0, math.inf), "maximum"),
        ((-math.inf, 0.0), "minimum"),
        ((1.0, math.inf, 10, "log"), "maximum"),
        ((1.0, 1e9, 500, "log"), "step"),
        ((1.0, 10.0, -5, "log"), "step"),
    ],
)
def test_bounds_that_make_no_slider_are_refused_by_name(arguments, named):
    with pytest.raises(ValueError, match=named):
        positions(*arguments)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (-0.25, "−0.25"),
        (12345.0, "1.23·10⁴"),
        (1e-5, "1·10⁻⁵"),
        (7, "7"),
        ("ReLU", "ReLU"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert three_digits(value) == text


# ---------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("text", "values", "default", "value"),
    [
        ("0.3", TENTHS, 0.5, 0.3),
        ("0.34", TENTHS, 0.5, 0.3),
        ("1", TENTHS, 0.5, 1.0),
        ("1.0001", TENTHS, 0.5, 0.5),
        ("-0.0001", TENTHS, 0.5, 0.5),
        ("3", [1, 3, 9], 1, 3),
        ("4.9", [1, 3, 9], 1, 3),
        ("cat", ["cat", "dog"], "dog", "cat"),
        ("Cat", ["cat", "dog"], "dog", "dog"),
        ("1", ["cat", 1], "cat", 1),
        ("1.0", ["cat", 1], "cat", "cat"),  # among names only what is written so counts
    ],
)
def test_a_link_means(text, values, default, value):
    assert parse(text, values, default) == value


@pytest.mark.parametrize(
    "text",
    ["", " ", "nan", "NaN", "inf", "-inf", "1e999", "--1", "0x1", "0,5", "½", "²", "\0", LONG,
     "0." + "0" * 31 + "x", "x" * 100_000, "None", "[0.5]"],
    ids=lambda text: ascii(text[:8]),
)  # fmt: skip
def test_nonsense_in_a_link_means_the_default(text):
    assert parse(text, TENTHS, 0.7) == 0.7
    assert parse(text, ["cat", "dog"], "dog") == "dog"


@given(any_.text(max_size=60))
def test_whatever_a_link_says_is_one_of_the_values(text):
    assert parse(text, TENTHS, 0.7) in TENTHS
    assert parse(text, ["cat", 1], "cat") in ["cat", 1]


# ---------------------------------------------------------------- what a browser reports


class Visit:
    """A slider in a session; `draw` is one run of the script."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **query: str) -> None:
        self.query = dict(query)
        self.session: dict[str, Any] = {}
        self.released = 0
        self.sent: dict[str, Any] = {}
        state = SimpleNamespace(session_state=self.session, query_params=self.query)
        monkeypatch.setattr(slider, "st", state)
        monkeypatch.setattr(address, "st", state)
        monkeypatch.setattr(slider, "component", lambda _: self.receive)

    def receive(self, data: dict, key: str, on_sent_change) -> None:
        self.sent = data
        self.on_sent_change = on_sent_change

    def draw(self, values=TENTHS, value=0.5, **options: Any) -> Any:
        release = lambda: setattr(self, "released", self.released + 1)  # noqa: E731
        options = {"query": "iou", "on_release": release} | options
        return live_slider("IoU", values, value, key="page.iou", **options)

    def report(self, state: Any) -> Any:
        self.session["page.iou"] = state
        self.on_sent_change()
        return self.draw()


@pytest.fixture
def visit(monkeypatch):
    made = Visit(monkeypatch)
    made.draw()
    return made


def sent(index: Any, number: Any, done: Any = False, revision: Any = 0) -> dict[str, Any]:
    return {"sent": {"index": index, "serial": number, "done": done, "revision": revision}}


def test_a_report_moves_the_slider_and_its_number_is_answered(visit):
    assert visit.sent["ack"] == -1
    assert visit.report(sent(7, 41)) == 0.7
    assert (visit.sent["index"], visit.sent["ack"]) == (7, 41)
    assert slider_value("page.iou") == 0.7
    assert serial("page.iou") == 41


def test_only_a_release_reaches_the_link_and_the_page(visit):
    visit.report(sent(7, 1))
    assert visit.query == {}
    assert visit.released == 0
    assert (slider_value("page.iou"), released_value("page.iou")) == (0.7, 0.5)
    visit.report(sent(8, 2, done=True))
    assert visit.query == {"iou": "0.8"}
    assert visit.released == 1
    assert (slider_value("page.iou"), released_value("page.iou")) == (0.8, 0.8)
    visit.report(sent(5, 3, done=True))
    assert visit.query == {}  # the default needs no mention


def test_the_revision_grows_only_when_python_moves_the_slider(visit):
    before = visit.sent["revision"]
    visit.report(sent(7, 1))
    assert visit.sent["revision"] == before
    move("page.iou", 0.2, "iou")
    assert visit.draw() == 0.2
    assert visit.sent["revision"] > before
    assert visit.query == {"iou": "0.2"}


def test_a_report_that_python_has_seen_does_not_undo_a_preset(visit):
    visit.report(sent(7, 1))
    move("page.iou", 0.2)
    assert visit.draw() == 0.2
    assert visit.draw() == 0.2  # the browser's state is still there in every later run


def test_a_report_made_before_python_moved_the_slider_is_answered_but_not_followed(visit):
    visit.report(sent(7, 1))
    move("page.iou", 0.2)
    assert visit.report(sent(8, 2, done=True)) == 0.2
    assert visit.query == {"iou": "0.2"}
    assert visit.sent["ack"] == 2
    assert visit.report(sent(9, 3, revision=visit.sent["revision"])) == 0.9


@pytest.mark.parametrize(
    "state",
    [
        None, 7, "7", [], {}, {"sent": None}, {"sent": 7}, {"sent": []}, {"sent": {}},
        sent(None, 1), sent("7", 1), sent(7.0, 1), sent(math.nan, 1), sent([7], 1), sent({}, 1),
        sent(7, None), sent(7, "1"), sent(7, 1.5), sent(7, [1]), {"sent": {"index": 7}},
        {"sent": {"index": 7, "serial": 1}}, sent(7, 1, revision="0"), sent(7, 1, revision=[0]),
    ],
    ids=str,
)  # fmt: skip
def test_odd_reports_are_ignored(visit, state):
    assert visit.report(state) == 0.5
    assert visit.query == {}


@pytest.mark.parametrize("index", [-1, 11, 2**31, -(2**63), 10**400])
def test_an_index_out_of_range_is_answered_but_not_followed(visit, index):
    assert visit.report(sent(index, 9, done=True)) == 0.5
    assert visit.query == {}
    assert serial("page.iou") == 9


def test_a_link_counts_only_for_the_first_run(monkeypatch):
    visit = Visit(monkeypatch, iou="0.3")
    assert visit.draw() == 0.3
    visit.query["iou"] = "0.9"
    assert visit.draw() == 0.3
    assert visit.report(sent(1, 1, done=True)) == 0.1


def test_without_a_name_in_the_link_nothing_is_read_or_written(monkeypatch):
    visit = Visit(monkeypatch, iou="0.3")
    assert visit.draw(query=None) == 0.5
    visit.session["page.iou"] = sent(9, 1, done=True)
    assert visit.draw(query=None) == 0.9
    assert visit.query == {"iou": "0.3"}


def test_other_values_keep_the_nearest_and_tell_the_browser(visit):
    visit.report(sent(7, 1))
    before = visit.sent["revision"]
    assert visit.draw(positions(0.0, 1.0, 0.25), 0.5) == 0.75
    assert visit.sent["index"] == 3
    assert visit.sent["revision"] > before
    assert visit.draw(["low", "high"], "high") == "high"


def test_the_default_is_one_of_the_values(visit):
    with pytest.raises(ValueError, match="value must be one of values"):
        visit.draw(value=0.55)


def test_what_the_browser_is_told(visit):
    visit.draw([1, 10, 100], 10, unit="px", ticks={10: "ten", 11: "no stop"}, help="why")
    assert visit.sent["texts"] == ["1 px", "10 px", "100 px"]
    assert visit.sent["ticks"] == [[1, "ten"]]
    assert (visit.sent["label"], visit.sent["help"], visit.sent["topic"]) == (
        "IoU",
        "why",
        "page.iou",
    )
    visit.draw([1, 10, 100], 10)
    assert visit.sent["ticks"] == [[0, "1"], [2, "100"]]


def test_a_step_may_answer_by_itself(visit):
    visit.draw(acknowledge=False)
    assert visit.sent["ack"] is None
