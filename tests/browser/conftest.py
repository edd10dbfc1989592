"""The real app in a real browser.

A test asks for `open_page` and gets a fresh visitor's page. It fails when that page logs an error,
loses a request, shows an exception or asks anyone but the app for anything.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from tools.browser import ROOT, running_app, running_browser, settle
from ui.catalogue import CONCEPTS

server_log = pytest.StashKey[Path]()


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of the running app, one app for each test process."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    request.session.stash[server_log] = log
    with running_app(log) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as chromium:
        yield chromium


@pytest.fixture
def problems() -> list[str]:
    """What went wrong in the test's pages; a test that provokes something clears it."""
    return []


@pytest.fixture
def settled() -> Callable[[Page], Page]:
    """Wait until the app has answered everything and stayed quiet for a moment."""

    return settle


@pytest.fixture
def open_page(
    server: str, browser: Browser, problems: list[str], settled: Callable[[Page], Page]
) -> Iterator[Callable[..., Page]]:
    """Open a page of the app as a new visitor and wait until it has settled.

    `path` may carry a query; `lang` is what the visitor's browser asks for; `before` is called
    with the page before it is loaded; further arguments go to Playwright's `Browser.new_context`.
    """
    pages: list[Page] = []

    def open_one(
        path: str = "",
        lang: str = "en",
        width: int = 1440,
        height: int = 900,
        color_scheme: str = "light",
        reduced_motion: str | None = None,
        before: Callable[[Page], None] | None = None,
        **context_options: Any,
    ) -> Page:
        context = visitors.enter_context(
            browser.new_context(
                locale=lang,
                viewport={"width": width, "height": height},
                color_scheme=color_scheme,
                reduced_motion=reduced_motion,
                **context_options,
            )
        )
        page = context.new_page()
        watch(page, server, problems)
        pages.append(page)
        if before:
            before(page)
        page.goto(f"{server}/{path}")
        return settled(page)

    with ExitStack() as visitors:
        yield open_one
        problems += [f"exception on {page.url}" for page in pages if shows_exception(page)]
    assert not problems, "\n".join(problems)


def watch(page: Page, server: str, problems: list[str]) -> None:
    """Add to `problems` whatever goes wrong in `page`."""

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not expected(message.location["url"]):
            problems.append(f"console: {message.text} ({message.location['url']})")

    def on_request(request: Request) -> None:
        if request.url.startswith("http") and not request.url.startswith(server):
            problems.append(f"request to elsewhere: {request.url}")

    def on_failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what the page itself gave up is no loss
            problems.append(f"request failed: {request.url}: {request.failure}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    page.on("request", on_request)
    page.on("requestfailed", on_failed)


def expected(url: str) -> bool:
    """Whether Streamlit's frontend asks for an address that is not there by design.

    Opened by a link to a page, it does not know yet whether `/<page>` is a page of an app at `/`
    or an app of its own, and asks both for their health first.
    """
    pages = "|".join(concept.id for concept in CONCEPTS)
    return bool(re.search(rf"^http://[^/]+/({pages})/_stcore/(health|host-config)$", url))


def shows_exception(page: Page) -> bool:
    return not page.is_closed() and page.get_by_test_id("stException").count() > 0


@pytest.fixture
def screenshot() -> Callable[[Page, str], Path]:
    """Save what the visitor sees as build/screenshots/<name>.png."""

    def save(page: Page, name: str) -> Path:
        path = ROOT / "build" / "screenshots" / f"{name}.png"
        page.screenshot(path=path)
        return path

    return save


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of the server's log beside a failure."""
    report = yield
    log = item.session.stash.get(server_log, None)
    if report.failed and log:
        report.sections.append(("server log", "\n".join(log.read_text().splitlines()[-60:])))
    return report
