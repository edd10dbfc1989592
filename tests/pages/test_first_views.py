"""A first view loads what it needs and no more."""

import subprocess
import sys
from pathlib import Path

from ui.catalogue import CONCEPTS

ROOT = Path(__file__).parents[2]
VIEW = f"""
import os, sys
sys.path.insert(0, os.getcwd())
from streamlit.testing.v1 import AppTest

for page in {[concept.id for concept in CONCEPTS]}:
    app = AppTest.from_file("app.py", default_timeout=60).switch_page(f"pages/{{page}}.py").run()
    assert app.title and not app.exception, app.exception
    assert "torch" in sys.modules
    assert "sympy" not in sys.modules, page
"""


def test_no_page_loads_symbolic_algebra():
    """torch loads sympy, half a second of work, for a few of its functions: others do the same."""
    done = subprocess.run(
        [sys.executable, "-c", VIEW], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
