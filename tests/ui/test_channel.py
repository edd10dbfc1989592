"""What travels to the browser: the packed block, and large arrays by themselves, once."""

import json
from typing import Any

import numpy as np
import pytest
import streamlit as st
import torch
from hypothesis import given
from hypothesis import strategies as any_
from hypothesis.extra import numpy as arrays_of
from streamlit.components.v2.presentation import make_bidi_component_presenter
from streamlit.runtime.state import SessionState
from streamlit.runtime.state.common import WidgetMetadata

from ui.live import channel
from ui.live.channel import forget_shared, mount, pack, share

LARGE = np.arange(channel._RESOURCE_BYTES, dtype=np.float32)
BROWSER = {"u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"}
"""The arrays that `shared.js` can read."""


def unpack(block: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `shared.js` does it."""
    length = int.from_bytes(block[:4], "little")
    header = json.loads(block[4 : 4 + length])
    arrays = {}
    for name, place in header["arrays"].items():
        if "resource" in place:
            arrays[name] = place["resource"]
            continue
        start = 4 + length + place["offset"]
        assert place["dtype"] in BROWSER
        assert start % np.dtype(place["dtype"]).itemsize == 0  # or the browser refuses the view
        count = int(np.prod(place["shape"]))
        flat = np.frombuffer(block, "<" + place["dtype"], count, start)
        arrays[name] = flat.reshape(place["shape"])
    return header["meta"], arrays


# ---------------------------------------------------------------- the packed block


def test_a_block_holds_meta_and_arrays():
    meta = {"text": "锚框 ✓", "list": [1, None, True]}
    boxes = np.eye(3, dtype=np.float32)
    sent = {"bytes": b"\1\2\3", "boxes": boxes, "none": np.zeros((0, 4)), "photo": "digest"}
    found, arrays = unpack(pack(meta, sent))
    assert found == meta
    assert arrays["bytes"].tolist() == [1, 2, 3]
    assert arrays["boxes"].tolist() == boxes.tolist()
    assert arrays["none"].shape == (0, 4)
    assert arrays["photo"] == "digest"


@given(
    any_.lists(
        arrays_of.arrays(
            any_.sampled_from(["u1", "i1", "<u2", ">i2", "<u4", "<i4", ">f4", "?"]),
            arrays_of.array_shapes(max_dims=3, min_side=0, max_side=5),
        ),
        max_size=4,
    ),
    any_.dictionaries(any_.text(max_size=5), any_.text(max_size=9), max_size=3),
)
def test_every_array_arrives_as_it_was(arrays, meta):
    named = {f"a{number}": array for number, array in enumerate(arrays)}
    found, received = unpack(pack(meta, named))
    assert found == meta
    for name, array in named.items():
        np.testing.assert_array_equal(received[name], array)
        assert received[name].shape == array.shape


def test_doubles_travel_as_floats():
    found = unpack(pack({}, {"a": np.array([0.1, np.nan, -np.inf])}))[1]["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([0.1, np.nan, -np.inf], np.float32))


def test_views_travel_in_reading_order():
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    for view in (whole.T, whole[::-1], whole[:, ::2], np.asfortranarray(whole)):
        assert unpack(pack({}, {"a": view}))[1]["a"].tolist() == view.tolist()


def test_torch_tensors_travel_too():
    tensor = torch.arange(6).reshape(2, 3)
    for view in (tensor, tensor.T, tensor > 2, tensor.float()):
        assert unpack(pack({}, {"a": view}))[1]["a"].tolist() == view.tolist()


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40])
def test_integers_that_the_browser_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="int32"):
        pack({}, {"a": np.array([value])})


# ---------------------------------------------------------------- large arrays


@pytest.fixture
def sent(monkeypatch) -> list[tuple[str, str, Any]]:
    """Every element that was sent: its piece, its key, its data unpacked."""
    elements: list[tuple[str, str, Any]] = []

    class Container:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

    monkeypatch.setattr(st, "session_state", {})
    monkeypatch.setattr(st, "container", lambda **_: Container())
    monkeypatch.setattr(
        channel,
        "component",
        lambda name: lambda data, key, **_: elements.append((name, key, unpack(data))),
    )
    return elements


def resources(sent) -> dict[str, np.ndarray]:
    found = [content for name, _key, content in sent if name == "resource"]
    return {meta["digest"]: arrays["value"] for meta, arrays in found}


def test_small_arrays_travel_with_the_piece(sent):
    mount("stage", {"a": 1}, {"boxes": LARGE[:9]}, key="page.stage")
    assert [(name, key) for name, key, _content in sent] == [("stage", "page.stage")]
    assert sent[0][2][1]["boxes"].tolist() == LARGE[:9].tolist()


def test_large_arrays_travel_by_themselves_before_the_piece(sent):
    mount("stage", {}, {"boxes": LARGE, "photo": b"\xff" * 20_000}, key="page.stage")
    assert [name for name, _key, _content in sent] == ["resource", "resource", "stage"]
    places = sent[-1][2][1]
    assert resources(sent)[places["boxes"]].tolist() == LARGE.tolist()
    assert resources(sent)[places["photo"]].tolist() == [255] * 20_000
    assert len({key for _name, key, _content in sent}) == 3


def test_an_unchanged_array_keeps_its_element_and_its_content(sent):
    for colour in (1, 2):
        mount("stage", {"colour": colour}, {"boxes": LARGE.copy()}, key="page.stage")
    first, second = (element for element in sent if element[0] == "resource")
    assert first[:2] == second[:2]
    assert first[2][0] == second[2][0]


def test_equal_bytes_of_another_type_or_shape_are_another_resource(sent):
    same = [LARGE, LARGE.view(np.int32), LARGE.reshape(2, -1), LARGE.reshape(-1, 2)]
    for number, array in enumerate(same):
        mount("stage", {}, {"a": array}, key=f"page.{number}")
    assert len(resources(sent)) == len(same)


def test_a_shared_array_is_carried_once_for_the_page(sent):
    forget_shared()
    share(b"\x07" * 20_000, key="page.photo")
    for number in range(3):
        mount("stage", {}, {"photo": b"\x07" * 20_000}, key=f"page.{number}")
    assert [name for name, _key, _content in sent] == ["resource", "stage", "stage", "stage"]
    digests = {content[1]["photo"] for name, _key, content in sent if name == "stage"}
    assert digests == set(resources(sent))


def test_the_next_page_shares_anew(sent):
    forget_shared()
    share(b"\x07" * 20_000, key="page.photo")
    forget_shared()
    mount("stage", {}, {"photo": b"\x07" * 20_000}, key="other.stage")
    assert [name for name, _key, _content in sent] == ["resource", "resource", "stage"]


# ---------------------------------------------------------------- scripts


def test_every_piece_has_its_script_and_the_loader_names_it():
    for name in ("slider", "figure", "stage", "sentence", "toolbar", "status", "resource"):
        assert (channel._BROWSER / f"{name}.js").is_file()


def test_the_scripts_address_changes_with_their_content(tmp_path, monkeypatch):
    monkeypatch.setattr(channel, "_BROWSER", tmp_path)
    (tmp_path / "a.js").write_text("1")
    before = channel._version()
    assert channel._version() == before
    (tmp_path / "a.js").write_text("2")
    assert channel._version() != before


# ---------------------------------------------------------------- what a piece has reported


@pytest.mark.parametrize(
    "state", [{}, {"sent": {"index": 3}}, {"asked": "kept"}, None, [1]], ids=str
)
@pytest.mark.parametrize(
    "events", [None, [], [{"event": "asked", "value": "data"}, {"event": "asked", "value": "code"}]]
)
def test_states_are_shown_as_streamlit_shows_them(state, events):
    session = SessionState()
    metadata = WidgetMetadata("triggers", lambda value: value, json.dumps, "json_trigger_value")
    session._set_widget_metadata(metadata)
    if events is not None:
        session._new_widget_state.set_from_value("triggers", events)
    wanted = make_bidi_component_presenter("triggers")(state, session)
    assert channel._presenter("triggers")(state, session) == wanted


def test_a_state_is_shown_where_nothing_can_be_triggered():
    state = {"sent": 1}
    assert channel._presenter("triggers")(state, SessionState()) is state
