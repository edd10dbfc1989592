"""Adding a concept as the README says, in a copy of the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import new_concept

ROOT = Path(__file__).parents[1]
LEFT_OUT = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build")
CONCEPT = "scratch_concept"
ROOMS = ("explainers", "figures", "pages", "tests/explainers", "tests/figures", "tests/pages")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the concept has been added."""
    place = tmp_path_factory.mktemp("copy") / "repository"
    shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(*LEFT_OUT))
    run(place, "-m", "tools.new_concept", CONCEPT, "layers")
    return place


def run(place: Path, *arguments: str) -> str:
    """What Python prints, which must succeed, there."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(arguments)}:\n{output}"
    return output


def test_style_and_format_are_right(copy):
    run(copy, "-m", "ruff", "check", ".")
    run(copy, "-m", "ruff", "format", "--check", ".")


def test_the_import_contract_is_kept(copy):
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    assert "0 broken" in run(copy, "-c", lint)


def test_the_explainer_is_fully_typed(copy):
    cache = ROOT / ".mypy_cache"
    if cache.exists():  # torch alone takes a minute to read
        shutil.copytree(cache, copy / ".mypy_cache")
    run(copy, "-m", "mypy", "--strict", f"explainers/{CONCEPT}.py")


def test_doctests_and_tests_pass(copy):
    own = [path for path in copy.rglob(f"*{CONCEPT}.py") if "pages" not in path.parts[-2:-1]]
    own.append(copy / "tests" / "pages" / f"test_{CONCEPT}.py")
    shared = [copy / "tests" / "ui" / f"test_{name}.py" for name in ("text", "language")]
    shared.append(copy / "tests" / "explainers" / "test_device_independence.py")
    told = run(copy, "-m", "pytest", "-q", *map(str, {*own, *shared}))
    assert "passed" in told


def test_the_page_opens_with_all_of_its_steps(copy):
    tests = "tests/pages/test_every_page.py"
    chosen = f"home or (opens_with_all_of_its_steps and {CONCEPT})"
    told = run(copy, "-m", "pytest", "-q", tests, "-k", chosen)
    assert "4 passed" in told


def test_every_room_has_its_file(copy):
    written = {path.relative_to(copy).as_posix() for path in copy.rglob(f"*{CONCEPT}*")}
    names = [f"{room}/{'test_' if 'tests' in room else ''}{CONCEPT}.py" for room in ROOMS]
    texts = [f"assets/text/{language}/{CONCEPT}.md" for language in ("en", "zh")]
    assert {*names, *texts, f"assets/thumbnails/{CONCEPT}.png"} <= written


@pytest.mark.parametrize(
    ("concept", "section", "reason"),
    [
        ("anchors_nms", "detection", "anchors_nms is taken"),
        ("boxes", "detection", "boxes is taken"),
        ("home", "layers", "home is taken"),
        ("Bad", "layers", "ID is 'Bad'"),
        ("two words", "layers", "ID is 'two words'"),
        ("trailing_", "layers", "ID is 'trailing_'"),
        ("../escape", "layers", "ID is '../escape'"),
        ("lambda", "layers", "ID is 'lambda'"),
        ("", "layers", "ID is ''"),
        ("x" * 33, "layers", "ID has 33 letters"),
        ("good", "nowhere", "SECTION is 'nowhere', allowed are layers, "),
    ],
)
def test_a_concept_that_cannot_be_is_refused(capsys, concept, section, reason):
    assert new_concept.main([concept, section]) == 2
    assert capsys.readouterr().err.startswith(reason)
