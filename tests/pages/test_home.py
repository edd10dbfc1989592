"""Home: painted without torch, which then comes in the background."""

import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.catalogue import CONCEPTS
from ui.samples import SAMPLES

ROOT = Path(__file__).parents[2]
PAINT = """
import os, sys
sys.path.insert(0, os.getcwd())  # as the server does: or AppTest moves the path while torch comes
from streamlit.testing.v1 import AppTest
from ui import run, shell

loaded = []
started = run.warm_up
shell.warm_up = lambda: loaded.append("torch" in sys.modules) or started()
app = AppTest.from_file("app.py", default_timeout=60)
PREPARE
app.run()
assert not app.exception, app.exception
assert app.title
print(*loaded)
started().join()
assert "torch" in sys.modules
assert "explainers.models" in sys.modules
"""


def painted(prepare: str = "") -> str:
    """Run the app in a fresh interpreter; whether torch was there when it was to be warmed up."""
    script = PAINT.replace("PREPARE", prepare)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_home_is_painted_before_torch_is_imported():
    assert painted() == "False"


def test_home_in_chinese_is_painted_before_torch_is_imported():
    assert painted('app.query_params["lang"] = "zh"') == "False"


@pytest.mark.parametrize("module", ["ui.shell", "ui.chooser", "ui.photo", "ui.samples"])
def test_what_home_needs_does_not_import_torch(module):
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_the_photo_in_a_link_is_seen_at_home(open_page):
    assert open_page("", photo="flower").session_state["photo"].name == "flower"
    assert open_page("", photo="nonsense").session_state["photo"].name == "night_cafe"


def test_links_inside_the_app_carry_language_and_photo(open_page):
    app = open_page("", "zh", photo="flower")
    links = app.get("page_link")
    assert len(links) >= 3  # home, and every concept in the sidebar and in the gallery
    assert {link.proto.query_string for link in links} == {"lang=zh&photo=flower"}


@pytest.mark.parametrize(("lang", "title"), [("en", "A dahlia"), ("zh", "大丽花")])
def test_pictures_are_told_to_those_who_do_not_see_them(open_page, lang, title):
    app = open_page("", lang, photo="flower")
    hero, *gallery = (image for node in app.get("image") for image in node.proto.imgs)
    assert hero.alt == title
    assert len(gallery) == len(CONCEPTS)
    assert all(map(is_decoration, gallery))


def test_a_sample_in_the_chooser_is_told_by_its_button_alone():
    app = AppTest.from_string("from ui import chooser; chooser._samples()").run()
    shown = [image for node in app.get("image") for image in node.proto.imgs]
    assert len(shown) == len(SAMPLES)
    assert all(map(is_decoration, shown))


def is_decoration(image):
    """Whether its alternative text is there, and empty: a title stands beside it."""
    return image.HasField("alt") and image.alt == ""
