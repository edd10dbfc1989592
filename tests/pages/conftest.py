"""Pages without a browser: Streamlit's own AppTest runs the app and shows what it drew.

AppTest shows no live piece, so what its controls stand at is noted as the page draws them.
"""

import base64
import functools
import json
import math
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.state.query_params_proxy import QueryParamsProxy
from streamlit.testing.v1 import AppTest

from figures.plain import Figure
from figures.stage import Layer
from figures.words import readable
from tests.figures.same import differences
from tests.pages.numbers import GAPS_SAID, not_numbers, words
from ui.address import written
from ui.controls import Controls
from ui.drawn import DrawnBoxes
from ui.kept import MOST_BYTES, Results
from ui.photo import Photo
from ui.step import ONCE_BYTES, Step

APP = Path(__file__).parents[2] / "app.py"
SECONDS = 60
MEANT_GAPS = (
    "activations.vanishing.chains_figure",  # gradients of 0, on a logarithmic axis
    "optimizers.basins",  # starts that have not settled
    "receptive_field.touch.touches",  # pixels without weight, on a logarithmic scale
    "receptive_field.trained gradient",  # cells with hardly any weight
)
"""Where NaN draws nothing, as it should."""


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
    asked: set[str] = field(default_factory=set)
    """The parameters of the link that the page has looked at."""
    odd: set[tuple[str, str]] = field(default_factory=set)
    """Where figures and layers hold what is no finite number; see `not_numbers`."""

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
            if reach := ends(args, options):
                notes.ends[key] = [written(end) for end in reach]
            notes.values[key] = written(value)
            return value

        monkeypatch.setattr(Controls, name, noting)

    note("live_slider", lambda args, _: [args[1][0], args[1][-1]])
    note("choice", lambda args, _: few(list(args[1])))
    note("several", lambda args, _: [list(args[1])[:1], list(args[1])[-1:], list(args[1])])
    note("number", lambda args, _: [args[2], args[3]])
    note("switch", lambda *_: [False, True])
    note("live_bars", lambda args, to: [[to[end]] * len(args[1]) for end in ("low", "high")])
    note("editor", lambda *_: [])

    make, finish, figure, stage = Step.boxes, Step.finish, Step.figure, Step.stage
    look = QueryParamsProxy.__getitem__

    def boxes(self: Step, *args: Any, key: str, **options: Any) -> DrawnBoxes:
        made = make(self, *args, key=key, **options)
        notes.boxes[key] = made.corners
        return made

    def finished(self: Step, calls: Any) -> None:
        finish(self, calls)
        notes.steps.append(self)

    def drew(self: Step, chart: Figure, *, key: str, **options: Any) -> Any:
        unlike = differences(chart)
        assert not unlike, unlike
        for place, trace in enumerate(chart.data):
            name, sweeps = f"{self.id}.{key}[{place}]", options.get("sweeps", ())
            swept = {sweep.attribute: sweep.values for sweep in sweeps if sweep.trace == place}
            notes.odd |= {*not_numbers(name, trace.to_plotly_json()), *not_numbers(name, swept)}
        return figure(self, chart, key=key, **options)

    def staged(self: Step, photo: Photo, layers: Sequence[Layer], **options: Any) -> Any:
        for layer in layers:
            notes.odd |= set(not_numbers(f"{self.id} {layer.name}", vars(layer)))
        return stage(self, photo, layers, **options)

    def looked(self: QueryParamsProxy, key: str) -> str:
        notes.asked.add(key)
        return look(self, key)

    monkeypatch.setattr(Step, "figure", drew)
    monkeypatch.setattr(Step, "stage", staged)
    monkeypatch.setattr(QueryParamsProxy, "__getitem__", looked)
    monkeypatch.setattr(Step, "boxes", boxes)
    monkeypatch.setattr(Step, "finish", finished)
    return notes


def few(options: list[Any]) -> list[Any]:
    """All options, or of many the first, the second and the last."""
    return options if len(options) <= 4 else [*options[:2], options[-1]]


@pytest.fixture(scope="session")
def results() -> dict[str, Any]:
    """What networks said and slow calls gave, shared by all visitors: each runs but once."""
    return {"step.results": Results(ONCE_BYTES), "kept.results": Results(MOST_BYTES)}


@pytest.fixture(scope="session", autouse=True)
def _packages_are_searched_once() -> Iterator[None]:
    """Each AppTest looks for components in all installed packages."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


@pytest.fixture
def open_page(drawn: Drawn, results: dict[str, Any]) -> Callable[..., AppTest]:
    """Open a page as a new visitor who follows a link; `uploaded` is a photo chosen before."""

    def open_one(
        page: str = "", lang: str = "en", uploaded: Photo | None = None, **query: str
    ) -> AppTest:
        drawn.forget()
        app = AppTest.from_file(APP, default_timeout=SECONDS)
        app.query_params.update({"lang": lang, **query})
        for key, shared in results.items():
            app.session_state[key] = shared
        if uploaded is not None:
            app.session_state["photo"] = uploaded
        if page:
            app.switch_page(f"pages/{page}.py")
        app.run()
        assert odd_numbers(app, drawn) == []
        return app

    return open_one


def odd_numbers(app: AppTest, drawn: Drawn) -> list[str]:
    """What on the page is no finite number, but for gaps that are meant or told."""
    sentences = {piece["step"]: with_its_numbers(piece) for piece in pieces(app, "sentence")}
    said = {step for step, text in sentences.items() if GAPS_SAID.search(text)}
    odd = [
        where
        for kind, where in sorted(drawn.odd)
        if kind == "infinite" or not (where.startswith(MEANT_GAPS) or step_of(where) in said)
    ]
    texts = [*(node.value for node in (*app.markdown, *app.caption)), *sentences.values()]
    if "optimizers.closeup" not in said:  # whose formula works out the steps of a path, all of it
        texts += [node.value for node in app.latex]
    odd += [text for text in texts if words(text)]
    return odd + [f"fact {name}" for name, n in all_facts(app).items() if not math.isfinite(n)]


def with_its_numbers(sentence: dict[str, Any]) -> str:
    """A sentence and all that stands in its places, numbers as the browser reads them."""
    told = [sentence["text"]]
    for follow in (follow for follows in sentence["places"].values() for follow in follows):
        floats = np.frombuffer(base64.b64decode(follow.get("floats", "")), "<f4")
        told += map(readable, np.unique(floats).tolist())
        told += map(str, follow.get("values", []))
    return " ".join(told)


def step_of(where: str) -> str:
    return ".".join(re.split(r"[. ]", where)[:2])


def complaints(app: AppTest) -> list[str]:
    """Everything on the page that says that something went wrong."""
    failures = [*app.exception, *app.error, *app.warning]
    return [f"{node.type}: {node.value}" for node in failures]


def pieces(app: AppTest, name: str) -> list[Any]:
    """The data of the live pieces of one kind, for those that are sent as JSON."""
    protos = [node.proto for node in app.get("bidi_component")]
    return [json.loads(p.bytes) for p in protos if p.component_name == f"live.{name}"]


def facts(app: AppTest, page: str) -> dict[str, float]:
    """The numbers on screen."""
    return dict(ChainMap(*app.session_state["page.facts"][page].values()))


def all_facts(app: AppTest) -> dict[str, float]:
    """The numbers on screen of all pages that were opened."""
    if "page.facts" not in app.session_state:
        return {}
    pages = app.session_state["page.facts"].values()
    return dict(ChainMap(*(step for page in pages for step in page.values())))
