"""What a session keeps of a photo: what networks found in it, and trainings on it."""

import io

import pytest
from PIL import Image

from ui import kept
from ui.catalogue import CONCEPTS
from ui.kept import MOST_BYTES, PUBLIC_BYTES, Results
from ui.live.training import _RUNS
from ui.photo import Photo
from ui.samples import sample
from ui.step import ONCE_BYTES

FOUND = {"photo_maps", "classify", "detect", "attend", "trace_gates", "sweep_gate"}
PAGES = ("attention_maps", "initialization", "softmax_temperature", "anchors_nms")


@pytest.fixture
def results():
    """A visitor for whom nothing has been computed yet."""
    return {"step.results": Results(ONCE_BYTES), "kept.results": Results(MOST_BYTES)}


@pytest.fixture
def for_all(monkeypatch):
    """What all visitors share: nothing yet."""
    monkeypatch.setattr(kept, "_for_all", Results(PUBLIC_BYTES))
    return kept._for_all


@pytest.fixture(scope="module")
def upload():
    file = io.BytesIO()
    sample("flower").image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, "PNG")
    return Photo.from_bytes(file.getvalue(), "upload.png")


def found(results):
    """What has been found in photos: the function's name once for each of its settings."""
    return [place[2] for place in results._kept if isinstance(place, tuple)]


def test_what_all_pages_find_in_a_photo_is_kept_at_once(open_page, results, for_all, upload):
    for page in PAGES:
        open_page(page, uploaded=upload)
    open_page("attention_maps", uploaded=upload, picture="crop")
    in_session = found(results["step.results"])
    assert {*in_session} == FOUND
    assert len(in_session) == len(FOUND) + 1  # the transformer has seen it cropped and whole
    assert found(for_all) == []


def test_what_is_found_in_a_sample_is_shared(open_page, results, for_all):
    for page in PAGES:
        open_page(page)
    assert {*found(for_all)} == FOUND
    assert found(results["step.results"]) == []


@pytest.mark.parametrize("page", [concept.id for concept in CONCEPTS])
def test_at_first_sight_of_a_sample_a_visitor_keeps_nothing_alone(
    open_page, results, for_all, page
):
    for _visit in range(2):  # what is slow is known from the second one on
        open_page(page)
    assert [place for store in results.values() for place in store._kept] == []


@pytest.mark.parametrize(
    ("page", "key", "anew"),
    [
        ("activations", "training", False),
        ("softmax_temperature", "distil", False),
        ("initialization", "train", True),
    ],
)
def test_another_photo_begins_only_what_is_trained_on_it_anew(open_page, page, key, anew):
    app = open_page(page)
    first = app.session_state[_RUNS][f"{page}.{key}"]
    app.run()
    assert app.session_state[_RUNS][f"{page}.{key}"] is first
    app.session_state["photo"] = sample("flower")
    app.run()
    assert (app.session_state[_RUNS][f"{page}.{key}"] is not first) == anew
