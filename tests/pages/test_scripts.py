"""The script behind every "Code" button runs by itself and finds the numbers on screen."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.pages.conftest import complaints, facts
from ui.catalogue import CONCEPTS
from ui.photo import Photo
from ui.recipe import Recipe
from ui.samples import PHOTOS, SAMPLES

ROOT = Path(__file__).parents[2]
PAGES = [concept.id for concept in CONCEPTS]
KEEP = """
import dataclasses, torch
def plain(value):
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value
torch.save({name: plain(globals()[name]) for name in NAMES}, FILE)
"""
"""Appended to a script, it saves what the script's variables hold."""


@pytest.fixture
def recipes(monkeypatch) -> dict[int, dict[str, Any]]:
    """Of every recipe the results by the names that its script gives them."""
    results: dict[int, dict[str, Any]] = {}
    add = Recipe._add

    def adding(self, function, arguments, options, result, within):
        add(self, function, arguments, options, result, within)
        name = re.search(r"^(\w+) = .*\n?\Z", lines(self)[-1])[1]
        results.setdefault(id(self), {})[name] = result

    monkeypatch.setattr(Recipe, "_add", adding)
    return results


def lines(recipe: Recipe) -> list[str]:
    return [line for line in recipe.script().splitlines() if not line.startswith("print(")]


RUN = """
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as script:
        exec(compile(script.read(), path, "exec"), {"__name__": "__main__"})
"""
"""Runs scripts one after the other, each as if by itself; torch is imported but once."""


def ran(scripts: list[Path], folder: Path) -> str:
    """Run scripts with the repository at hand; what they printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, *map(str, scripts)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, torch.Tensor):
        alike = found.dtype == wanted.dtype and found.shape == wanted.shape
        if not wanted.is_floating_point():
            return alike and torch.equal(found, wanted)
        return alike and torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)  # other threads
    if isinstance(wanted, tuple | list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if hasattr(wanted, "__dataclass_fields__"):
        return all(same(found[name], getattr(wanted, name)) for name in wanted.__dataclass_fields__)
    if isinstance(wanted, float):
        return found == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    return found == wanted


def check(drawn, recipes, folder: Path, tmp_path: Path) -> str:
    """Run the script of every step that was drawn; returns all that they printed."""
    assert drawn.steps
    scripts = []
    for step in drawn.steps:
        script, file = step.recipe.script(), str(tmp_path / f"{step.id}.pt")
        assert "print(" in script
        kept = KEEP.replace("NAMES", repr(list(recipes[id(step.recipe)])))
        scripts.append(tmp_path / f"{step.id}.py")
        scripts[-1].write_text(f"{script}\n{kept.replace('FILE', repr(file))}", encoding="utf-8")
    printed = ran(scripts, folder)
    for step in drawn.steps:
        wanted = recipes[id(step.recipe)]
        found = torch.load(tmp_path / f"{step.id}.pt", weights_only=True)
        wrong = [name for name in wanted if not same(found[name], wanted[name])]
        assert not wrong, f"{step.id}: {wrong} differ\n{step.recipe.script()}"
    return printed


@pytest.mark.parametrize("page", PAGES)
def test_every_steps_script_repeats_its_numbers(open_page, drawn, recipes, page, tmp_path):
    app = open_page(page)
    printed = check(drawn, recipes, ROOT, tmp_path)
    shown = {name: float(number) for name, number in re.findall(r"(\w+)=([-\d.e]+)", printed)}
    wanted = facts(app, page)
    common = wanted.keys() & shown.keys()
    assert common
    assert {name: shown[name] for name in common} == pytest.approx({n: wanted[n] for n in common})


@pytest.mark.parametrize("page", PAGES)
def test_an_uploads_script_reads_the_photo_beside_it(open_page, drawn, recipes, page, tmp_path):
    with Image.open(PHOTOS / SAMPLES["astronaut"].file) as image:
        image.resize((300, 280)).save(tmp_path / "photo.jpg", quality=90)
    uploaded = Photo.from_bytes((tmp_path / "photo.jpg").read_bytes(), "holiday.jpg")
    assert complaints(open_page(page, uploaded=uploaded)) == []
    assert any("photo.jpg" in step.recipe.script() for step in drawn.steps)
    check(drawn, recipes, tmp_path, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_button_shows_the_source_and_the_script(open_page, drawn, page):
    app = open_page(page)
    assert len(app.code) == 0
    app.session_state["toolbar.open"] = {step.id for step in drawn.steps}
    drawn.forget()
    app.run()
    shown = [code.value for code in app.code]
    wanted = [text for s in drawn.steps for text in (s.recipe.source(), s.recipe.script())]
    assert shown == wanted
    assert all('"""' in source for source in shown[::2])  # explained, not only code
