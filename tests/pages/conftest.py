"""Pages without a browser: Streamlit's own AppTest runs the app and shows what it drew.

AppTest shows no live piece, so what its controls stand at is noted as the page draws them.
"""

import json
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from ui.address import written
from ui.controls import Controls
from ui.drawn import DrawnBoxes
from ui.photo import Photo
from ui.step import Step

APP = Path(__file__).parents[2] / "app.py"
SECONDS = 60


@dataclass
class Drawn:
    """What a page drew in one run."""

    ends: dict[str, list[str]] = field(default_factory=dict)
    """For each control what a link may ask of it: both ends, or options."""
    values: dict[str, str] = field(default_factory=dict)
    """For each control what it stood at, as a link writes it."""
    boxes: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    """For each set of drawn boxes where they were."""
    steps: list[Step] = field(default_factory=list)
    """The steps that were drawn to their end."""

    def forget(self) -> None:
        for notes in vars(self).values():
            notes.clear()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """What the page has drawn since it was opened."""
    notes = Drawn()

    def note(name: str, ends: Callable[[tuple, dict], list[Any]]) -> None:
        draw = getattr(Controls, name)

        def noting(self: Controls, *args: Any, key: str, **options: Any) -> Any:
            value = draw(self, *args, key=key, **options)
            notes.ends[key] = [written(end) for end in ends(args, options)]
            notes.values[key] = written(value)
            return value

        monkeypatch.setattr(Controls, name, noting)

    note("live_slider", lambda args, _: [args[1][0], args[1][-1]])
    note("choice", lambda args, _: few(list(args[1])))
    note("several", lambda args, _: [list(args[1])[:1], list(args[1])[-1:], list(args[1])])
    note("number", lambda args, _: [args[2], args[3]])
    note("switch", lambda *_: [False, True])

    make, finish = Step.boxes, Step.finish

    def boxes(self: Step, *args: Any, key: str, **options: Any) -> DrawnBoxes:
        made = make(self, *args, key=key, **options)
        notes.boxes[key] = made.corners
        return made

    def finished(self: Step, calls: Any) -> None:
        finish(self, calls)
        notes.steps.append(self)

    monkeypatch.setattr(Step, "boxes", boxes)
    monkeypatch.setattr(Step, "finish", finished)
    return notes


def few(options: list[Any]) -> list[Any]:
    """All options, or of many the first, the second and the last."""
    return options if len(options) <= 4 else [*options[:2], options[-1]]


@pytest.fixture(scope="session")
def results() -> dict[Any, Any]:
    """What networks said of photos: all visitors of the tests share it, to run each but once."""
    return {}


@pytest.fixture
def open_page(drawn: Drawn, results: dict[Any, Any]) -> Callable[..., AppTest]:
    """Open a page as a new visitor who follows a link; `uploaded` is a photo chosen before."""

    def open_one(
        page: str = "", lang: str = "en", uploaded: Photo | None = None, **query: str
    ) -> AppTest:
        drawn.forget()
        app = AppTest.from_file(APP, default_timeout=SECONDS)
        app.query_params.update({"lang": lang, **query})
        app.session_state["step.results"] = results
        if uploaded is not None:
            app.session_state["photo"] = uploaded
        if page:
            app.switch_page(f"pages/{page}.py")
        return app.run()

    return open_one


def complaints(app: AppTest) -> list[str]:
    """Everything on the page that says that something went wrong."""
    failures = [*app.exception, *app.error, *app.warning]
    return [f"{node.type}: {node.value}" for node in failures]


def pieces(app: AppTest, name: str) -> list[Any]:
    """The data of the live pieces of one kind, for those that are sent as JSON."""
    protos = [node.proto for node in app.get("bidi_component")]
    return [json.loads(p.json) for p in protos if p.component_name == f"live.{name}"]


def facts(app: AppTest, page: str) -> dict[str, float]:
    """The numbers on screen."""
    return dict(ChainMap(*app.session_state["page.facts"][page].values()))
