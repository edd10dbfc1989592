"""What a session keeps of a photo: what networks found in it, and trainings on it."""

import pytest

from ui.kept import MOST_BYTES, Results
from ui.live.training import _RUNS
from ui.samples import sample
from ui.step import ONCE_BYTES

FOUND = {"photo_maps", "classify", "detect", "attend", "trace_gates", "sweep_gate"}


@pytest.fixture
def results():
    """A visitor for whom nothing has been computed yet."""
    return {"step.results": Results(ONCE_BYTES), "kept.results": Results(MOST_BYTES)}


def test_what_all_pages_find_in_a_photo_is_kept_at_once(open_page, results):
    for page in ("attention_maps", "initialization", "softmax_temperature", "anchors_nms"):
        open_page(page)
    open_page("attention_maps", picture="crop")
    places = [*results["step.results"]._kept]
    assert {name for _photo, _module, name, *_arguments in places} == FOUND
    assert len(places) == len(FOUND) + 1  # the transformer has seen the photo cropped and whole


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
