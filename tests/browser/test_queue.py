"""The line before heavy work in a real browser: waiting is seen, stopping works, leaving frees."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tools.browser import running_app
from ui.queue import PLACES

LINE = "Waiting for a free processor: 1 before you"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`apps/queue_app.py` in place of the app."""
    log = tmp_path_factory.mktemp("queue") / "server.log"
    with running_app(log, "tests/browser/apps/queue_app.py") as address:
        yield address


def occupy(open_page) -> list[Page]:
    """Visitors who hold all places."""
    pages = [open_page("?case=occupy") for _ in range(PLACES)]
    for page in pages:
        page.get_by_role("button", name="Occupy").click()
        expect(page.get_by_text("occupied")).to_be_visible()
    return pages


@pytest.fixture
def watch(open_page, settled) -> Callable[[], tuple[int, int]]:
    """How many states were computed for any visitor, and how many visitors are in line."""
    page = open_page("?case=look")

    def look() -> tuple[int, int]:
        page.get_by_role("button", name="Look").click()
        told = settled(page).get_by_text("computed").inner_text()
        found = re.fullmatch(r"computed (\d+), in line (\d+)", told)
        return int(found[1]), int(found[2])

    return look


def test_a_training_waits_for_its_turn_and_says_so(open_page) -> None:
    others = occupy(open_page)
    page = open_page()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_role("status").get_by_text(LINE)).to_be_visible()
    expect(page.locator(".live-progress")).to_have_text("Step 0 of 3000")
    others[0].close()
    expect(page.get_by_text(LINE)).to_have_count(0)
    expect(page.locator(".live-progress")).not_to_have_text("Step 0 of 3000")
    page.get_by_role("button", name="Pause").click()


def test_pause_ends_the_wait(open_page, watch, settled) -> None:
    occupy(open_page)
    page = open_page()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text(LINE)).to_be_visible()
    assert watch()[1] == PLACES + 1
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text(LINE)).to_have_count(0)
    settled(page)
    expect(page.locator(".live-progress")).to_have_text("Step 0 of 3000")
    assert watch()[1] == PLACES


def test_other_controls_answer_while_a_training_waits(open_page) -> None:
    occupy(open_page)
    page = open_page()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text(LINE)).to_be_visible()
    page.get_by_role("slider", name="Level").press("End")
    expect(page.get_by_text("level 100, states 1")).to_be_visible()
    expect(page.get_by_text(LINE)).to_be_visible()  # and it lines up again


def test_a_closed_tab_ends_a_training_within_two_seconds(open_page, watch) -> None:
    page = open_page()
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".live-progress")).not_to_have_text("Step 0 of 3000")
    page.close()
    time.sleep(2)
    computed, in_line = watch()
    assert computed > 1
    assert in_line == 0
    time.sleep(1)
    assert watch() == (computed, 0)


def test_a_closed_tab_gives_up_its_place_in_line(open_page, watch) -> None:
    occupy(open_page)
    page = open_page()
    page.get_by_role("button", name="Train").click()
    expect(page.get_by_text(LINE)).to_be_visible()
    page.close()
    time.sleep(2)
    assert watch()[1] == PLACES
