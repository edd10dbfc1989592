"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

BROWSER_TESTS = Path(__file__).parent / "browser"

settings.load_profile("ci")  # the same examples in every run, and no deadline on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the slow browser tests for last."""
    items.sort(key=lambda item: BROWSER_TESTS in item.path.parents)
