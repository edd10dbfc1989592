"""Controls of a step: session, link, presets and reset; and the boxes that visitors draw."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as any_
from streamlit.testing.v1 import AppTest

from ui import drawn
from ui.drawn import DrawnBoxes
from ui.samples import sample


def page() -> None:
    """A step with one control of every kind, as a script for AppTest."""
    import streamlit as st

    from ui.controls import Controls, value

    controls = Controls("page", "step", st.container())
    controls.presets({"both": {"kind": "b", "size": 30, "seed": 7, "on": False}})
    kinds = {"a": "First kind", "b": "Second kind"}
    picked = {
        "kind": controls.choice("Kind", kinds, "a", key="kind"),
        "wide": controls.choice("Wide", kinds, "a", key="wide", wide=True),
        "size": controls.live_slider("Size", [10, 20, 30], 20, key="size"),
        "seed": controls.number("Seed", 3, 0, 9, key="seed"),
        "on": controls.switch("On", True, key="on"),
    }
    controls.reset()
    controls.keep_address()
    assert {key: value(f"page.{key}") for key in picked} == picked
    st.session_state["picked"] = picked


DEFAULTS = {"kind": "a", "wide": "a", "size": 20, "seed": 3, "on": True}


class Visit:
    def __init__(self, script: Callable[[], None] = page, **query: str) -> None:
        self.app = AppTest.from_function(script)
        self.app.query_params.update(query)
        self.run()

    def run(self) -> None:
        self.app.run()
        assert not self.app.exception

    @property
    def picked(self) -> dict:
        return self.app.session_state["picked"]

    @property
    def link(self) -> dict[str, str]:
        return self.app.query_params

    def press(self, name: str) -> None:
        self.app.button(key=f"page.step.{name}").click()
        self.run()


def test_defaults_stay_out_of_the_link():
    visit = Visit()
    assert visit.picked == DEFAULTS
    assert visit.link == {}


def test_a_link_sets_every_control():
    visit = Visit(kind="b", wide="b", size="10", seed="9", on="0")
    assert visit.picked == {"kind": "b", "wide": "b", "size": 10, "seed": 9, "on": False}


@pytest.mark.parametrize(
    ("key", "nonsense"),
    [
        *(("kind", text) for text in ("", "c", "A", "First kind", "a ", "x" * 100_000)),
        *(("wide", text) for text in ("", "0", "\0")),
        *(("size", text) for text in ("", "9", "31", "nan", "inf", "²")),
        *(("seed", text) for text in ("", "-1", "10", "--5", "-", "²", "3.5", "1e0", "9" * 9999)),
        *(("on", text) for text in ("", "01", "true", "False", "2", "-1", "²")),
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_nonsense_in_a_link_means_the_default(key, nonsense):
    assert Visit(**{key: nonsense}).picked == DEFAULTS


def test_what_a_visitor_chooses_goes_into_the_link_and_the_default_out_of_it():
    visit = Visit()
    visit.app.number_input(key="page.seed").set_value(5)
    visit.app.toggle(key="page.on").set_value(False)
    visit.app.selectbox(key="page.wide").set_value("b")
    visit.app.segmented_control(key="page.kind").set_value("b")
    visit.run()
    assert visit.picked == {"kind": "b", "wide": "b", "size": 20, "seed": 5, "on": False}
    assert visit.link == {"kind": "b", "wide": "b", "seed": "5", "on": "0"}
    assert Visit(**visit.link).picked == visit.picked
    visit.app.number_input(key="page.seed").set_value(3)
    visit.app.toggle(key="page.on").set_value(True)
    visit.run()
    assert visit.link == {"kind": "b", "wide": "b"}


def test_a_change_that_comes_with_an_old_address_takes_nothing_out_of_it():
    visit = Visit()
    visit.app.number_input(key="page.seed").set_value(5)
    visit.run()
    assert visit.link == {"seed": "5"}
    visit.link.clear()  # the browser had not heard of it when it sent the next change
    visit.app.toggle(key="page.on").set_value(False)
    visit.run()
    assert visit.link == {"seed": "5", "on": "0"}


def test_the_address_of_another_part_of_the_page_is_left_alone():
    visit = Visit(lang="zh", elsewhere="7")
    assert visit.link == {"lang": "zh", "elsewhere": "7"}


def test_a_choice_cannot_be_taken_back_to_nothing():
    visit = Visit(kind="b")
    visit.app.segmented_control(key="page.kind").set_value(None)
    visit.run()
    assert visit.picked["kind"] == "b"
    assert visit.app.segmented_control(key="page.kind").value == "b"
    assert Visit(**visit.link).picked == visit.picked


def test_a_preset_sets_several_controls_and_the_link():
    visit = Visit(wide="b")
    visit.press("preset.both")
    assert visit.picked == {"kind": "b", "wide": "b", "size": 30, "seed": 7, "on": False}
    assert Visit(**visit.link).picked == visit.picked


def followed() -> None:
    """Like `page`, where other steps follow its controls."""
    import streamlit as st

    from ui.controls import Controls, follow

    follow("page.size", "second")
    follow("page.seed", "second")
    follow("page.seed", "third")
    follow("page.third.facts", "fourth")
    controls = Controls("page", "first", st.container())
    controls.presets({"both": {"size": 30, "on": False}})
    controls.live_slider("Size", [10, 20, 30], 20, key="size")
    controls.number("Seed", 3, 0, 9, key="seed")
    controls.switch("On", True, key="on")
    controls.reset()


@pytest.fixture
def reran(monkeypatch) -> list[list[str]]:
    """The steps that were asked to rerun, by interaction."""
    asked: list[list[str]] = []
    monkeypatch.setattr("ui.controls.st.rerun", asked.append)
    return asked


def test_a_change_reruns_the_steps_that_follow_it_and_what_follows_from_them(reran):
    visit = Visit(followed)
    visit.app.number_input(key="page.seed").set_value(5)
    visit.run()
    names = ["first", "second", "third", "fourth"]
    assert reran == [[f"page.{name}.step" for name in names]]


def test_a_change_that_nobody_follows_reruns_its_own_step_as_streamlit_does(reran):
    visit = Visit(followed)
    visit.app.toggle(key="page.on").set_value(False)
    visit.run()
    assert reran == []


def test_a_preset_reruns_what_follows_its_controls_and_reset_what_follows_any(reran):
    visit = Visit(followed)
    visit.app.button(key="page.first.preset.both").click()
    visit.run()
    visit.app.button(key="page.first.reset").click()
    visit.run()
    steps = [f"page.{name}.step" for name in ("first", "second", "third", "fourth")]
    assert reran == [steps[:2], steps]


def test_reset_brings_back_the_defaults():
    visit = Visit(kind="b", wide="b", size="10", seed="9", on="0")
    visit.press("reset")
    assert visit.picked == DEFAULTS
    assert visit.link == {}


# ---------------------------------------------------------------- several options


def several_page() -> None:
    """A step with options of which several can be chosen, as a script for AppTest."""
    import streamlit as st

    from ui.controls import Controls, value

    controls = Controls("page", "step", st.container())
    controls.presets({"last": {"kinds": ["c"]}})
    options = {"a": "First", "b": "Second", "c": "Third"}
    picked = controls.several("Kinds", options, ["c", "a"], key="kinds")
    controls.reset()
    controls.keep_address()
    assert sorted(value("page.kinds")) == sorted(picked)
    st.session_state["picked"] = picked


@pytest.mark.parametrize(
    ("link", "picked"),
    [
        ({}, ["a", "c"]),
        ({"kinds": "b"}, ["b"]),
        ({"kinds": "c,b,a"}, ["a", "b", "c"]),
        ({"kinds": "b,b,nonsense"}, ["b"]),
        *(
            ({"kinds": text}, ["a", "c"])
            for text in ("", ",", "B", "a b", "nan", "\0", "x" * 99_999)
        ),
    ],
    ids=lambda given: ascii(given)[:20],
)
def test_several_options_from_a_link_in_their_order(link, picked):
    assert Visit(several_page, **link).picked == picked


def test_several_options_chosen_go_into_the_link_and_the_default_out_of_it():
    visit = Visit(several_page)
    assert visit.link == {}
    for pills, link in ((["c", "b"], {"kinds": "b,c"}), (["c", "a"], {}), (["a"], {"kinds": "a"})):
        visit.app.pills(key="page.kinds").set_value(pills)
        visit.run()
        assert visit.picked == sorted(pills)
        assert visit.link == link


def test_the_last_of_several_options_stays_when_it_is_taken_away():
    visit = Visit(several_page, kinds="b")
    visit.app.pills(key="page.kinds").set_value([])
    visit.run()
    assert visit.picked == ["b"]
    assert visit.app.pills(key="page.kinds").value == ["b"]
    assert visit.link == {"kinds": "b"}


def test_a_preset_and_reset_set_several_options():
    visit = Visit(several_page)
    visit.press("preset.last")
    assert visit.picked == ["c"]
    assert visit.link == {"kinds": "c"}
    visit.press("reset")
    assert visit.picked == ["a", "c"]
    assert visit.link == {}


# ---------------------------------------------------------------- drawn boxes


class Session:
    """A session in which boxes are drawn on the default sample, without a stage."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, default=(), **query: str) -> None:
        self.session_state: dict = {}
        self.query_params = dict(query)
        self.default = default
        monkeypatch.setattr(drawn, "st", self)

    def boxes(self) -> DrawnBoxes:
        photo = sample("night_cafe")
        return DrawnBoxes("page.step.objects", "objects", "nowhere", photo, self.default)


DIGEST = sample("night_cafe").digest[:6]
BOX = [(10, 20, 30, 40)]


def test_drawn_boxes_by_default_stay_out_of_the_link(monkeypatch):
    session = Session(monkeypatch, [(10.2, 19.8, 30.4, 40)])
    assert session.boxes().corners == BOX
    assert session.boxes().address is None


def test_a_link_carries_drawn_boxes(monkeypatch):
    session = Session(monkeypatch, BOX)
    session.boxes().set([(1, 2, 3, 4), (5.4, 6, 7, 8)])
    assert session.boxes().corners == [(1, 2, 3, 4), (5, 6, 7, 8)]
    link = session.boxes().address
    assert link == f"{DIGEST}-1.2.3.4_5.6.7.8"
    opened = Session(monkeypatch, BOX, objects=link)
    assert opened.boxes().corners == [(1, 2, 3, 4), (5, 6, 7, 8)]


def test_a_link_carries_that_all_boxes_were_deleted(monkeypatch):
    session = Session(monkeypatch, BOX)
    session.boxes().set([])
    assert session.boxes().corners == []
    link = session.boxes().address
    opened = Session(monkeypatch, BOX, objects=link)
    assert opened.boxes().corners == []
    assert opened.boxes().address == link


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", DIGEST, "000000-1.2.3.4", f"{DIGEST.upper()}x-1.2.3.4"),
        *(f"{DIGEST}-{rest}" for rest in ("²", "1.2.3", "1.2.3.4.5", "a.b.c.d", "-1.2.3.4")),
        *(f"{DIGEST}-{rest}" for rest in ("3.2.1.4", "1.4.3.2", "1.1.1.1", "0.0.9999.9", "1e1")),
        f"{DIGEST}-" + "9" * 100_000,
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_boxes_of_another_photo_and_nonsense_mean_the_default(monkeypatch, text):
    session = Session(monkeypatch, BOX, objects=text)
    assert session.boxes().corners == BOX


def test_of_a_link_the_boxes_that_make_sense_are_kept(monkeypatch):
    session = Session(monkeypatch, BOX, objects=f"{DIGEST}-1.2.3.4_nonsense_5.6.7.8_9.9.9.9")
    assert session.boxes().corners == [(1, 2, 3, 4), (5, 6, 7, 8)]


def test_no_link_brings_more_boxes_than_a_stage_takes(monkeypatch):
    session = Session(monkeypatch, objects=f"{DIGEST}-" + "_".join(["1.2.3.4"] * 300))
    assert len(session.boxes().corners) == 100


@given(any_.text(max_size=40))
def test_no_link_makes_boxes_off_the_photo(text):
    with pytest.MonkeyPatch.context() as patch:
        found = Session(patch, objects=f"{DIGEST}-{text}").boxes().corners
    assert all(0 <= x1 < x2 <= 634 and 0 <= y1 < y2 <= 500 for x1, y1, x2, y2 in found)


def test_python_replacing_the_boxes_changes_the_revision(monkeypatch):
    session = Session(monkeypatch, BOX)
    before = session.boxes().revision
    assert session.boxes().revision == before
    session.boxes().set(BOX)
    assert session.boxes().revision != before
