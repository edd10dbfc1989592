"""What a network found in a photo is found once, and takes no more than its room."""

from typing import Any

import pytest
import streamlit as st
import torch
from PIL import Image
from torch import Tensor

from ui import kept
from ui import step as step_module
from ui.photo import Photo
from ui.recipe import Recipe
from ui.step import Step

PHOTOS = [Photo(Image.new("RGB", (4, 4)), f"{name}.png", "upload", name) for name in "ab"]
PICTURE = torch.zeros(8, 8, 3)
calls: list[int] = []


def look(_picture: Tensor, size: int) -> Tensor:
    calls.append(size)
    return torch.zeros(size, dtype=torch.uint8)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step of a visitor for whom nothing has been computed, with room for 10 kB."""
    session: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", session)
    monkeypatch.setattr(step_module, "ONCE_BYTES", 10_000)
    monkeypatch.setattr(kept, "ENTRY_BYTES", 0)
    calls.clear()
    step = object.__new__(Step)  # without the place on a page that it draws
    step.recipe = Recipe()
    return step


def test_each_photo_is_looked_at_once(step) -> None:
    found = [step.once(photo, look, PICTURE, 5) for photo in [*PHOTOS, *PHOTOS]]
    assert calls == [5, 5]
    assert found[0] is found[2] is not found[1]
    assert step.recipe.functions() == [look]


def test_many_small_results_are_kept(step) -> None:
    for _ in range(2):
        for size in range(100):
            step.once(PHOTOS[0], look, PICTURE, size)
    assert len(calls) == 100


def test_the_oldest_makes_room(step) -> None:
    for size in (4000, 5000, 4000, 3000, 4000, 5000):  # 3000 drives out 5000
        step.once(PHOTOS[0], look, PICTURE, size)
    assert calls == [4000, 5000, 3000, 5000]


def test_the_newest_is_kept_however_large_it_is(step) -> None:
    for size in (10, 50_000, 50_000):
        step.once(PHOTOS[0], look, PICTURE, size)
    assert calls == [10, 50_000]
