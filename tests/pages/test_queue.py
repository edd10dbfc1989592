"""A page whose network has to wait for its turn."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from tests.pages.conftest import complaints, facts
from ui import kept, step
from ui.photo import Photo
from ui.queue import HEAVY, PLACES


def unseen(digest: str) -> Photo:
    """A photo that no network has seen in another test."""
    return Photo(Image.new("RGB", (320, 240), "#336699"), "blue.png", "upload", digest)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """A visitor for whom nothing has been computed yet, nor for anybody else."""
    monkeypatch.setattr(kept, "_for_all", kept.Results(kept.PUBLIC_BYTES))
    return {}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Others hold all places until the page has said that it waits; what it said."""
    notes: list[str] = []
    said = threading.Event()
    info = DeltaGenerator.info

    def noting(self: DeltaGenerator, body: str, **options: object) -> DeltaGenerator:
        notes.append(body)
        said.set()
        return info(self, body, **options)

    def hold() -> None:
        with ExitStack() as held:
            for _place in range(PLACES):
                held.enter_context(HEAVY.turn())
            holding.set()
            said.wait(60)

    monkeypatch.setattr(DeltaGenerator, "info", noting)
    holding, holder = threading.Event(), threading.Thread(target=hold)
    holder.start()
    holding.wait()
    yield notes
    said.set()
    holder.join()


@pytest.mark.parametrize(
    ("lang", "line"),
    [
        ("en", "Waiting for a free processor: 1 before you"),
        ("zh", "正在等待空闲的处理器，前面还有 1 位"),
    ],
)
def test_waiting_is_seen_and_gone_when_it_is_over(open_page, told, lang, line):
    app = open_page("softmax_temperature", lang=lang, uploaded=unseen(f"queue {lang}"))
    assert told == [line]
    assert [node.value for node in app.info] == []
    assert complaints(app) == []
    assert facts(app, "softmax_temperature")["percent"] > 0
    assert HEAVY.length == 0


def test_light_work_does_not_wait(open_page, told, monkeypatch):
    monkeypatch.setattr(step, "HEAVY", 60.0)
    app = open_page("optimizers")
    assert told == []
    assert complaints(app) == []
    assert HEAVY.length == PLACES


def test_what_has_proved_slow_waits(open_page, told, monkeypatch):
    monkeypatch.setattr(step, "HEAVY", 60.0)
    monkeypatch.setitem(kept._costs, "explainers.races.race", 61.0)
    app = open_page("optimizers")
    assert told
    assert complaints(app) == []
    assert HEAVY.length == 0
