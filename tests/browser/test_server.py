"""What the server gives to whom: nothing but the app, and that to its own pages alone."""

import base64
import http.client
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tools.browser import ROOT, running_app, settle
from ui.live.channel import browser_path, plotly_url

PAGE = "softmax_temperature"
FOREIGN = "https://elsewhere.example"
PRIVATE = [
    *("app.py", "requirements.txt", "Makefile", "README.md", "pages/home.py", "ui/photo.py"),
    *(".streamlit/config.toml", ".git/config", ".git/HEAD", "assets/weights/README.md"),
    *("assets/photos/night_cafe.jpg", "tests/conftest.py"),
]
UP = ["..", "%2e%2e", "%2E%2e", "..%2f..", "..%5c..", "%252e%252e", "....//.."]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def ask(server):
    """Ask for a path as it stands: no client that tidies it up comes between."""

    def one(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=20)
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        held_open = answer.status == http.client.SWITCHING_PROTOCOLS
        result = Answer(answer.status, headers, b"" if held_open else answer.read())
        connection.close()
        return result

    return one


@pytest.fixture(scope="module")
def folders(server, browser) -> list[str]:
    """Every path under which the server looks for files, once a page has been opened."""
    page = browser.new_page()
    page.goto(f"{server}/{PAGE}")
    settle(page).close()
    scripts = [browser_path(), plotly_url().rpartition("/")[0] + "/"]
    return ["/", "/static/", "/app/static/", "/media/", "/_stcore/bidi-components/", *scripts]


def is_file(content: bytes, path: str) -> bool:
    file = ROOT / path
    return file.exists() and content == file.read_bytes()


# ---------------------------------------------------------------- files


def test_only_the_files_that_are_meant_are_served(ask, folders):
    own, plotly = folders[-2:]
    assert is_file(ask(own + "slider.js").body, "ui/live/browser/slider.js")
    assert b"plotly" in ask(plotly + "plotly.min.js").body[:200]
    shell = ask("/").body
    for folder in folders:
        for path in PRIVATE:
            answer = ask(folder + path)
            assert answer.status >= 400 or answer.body == shell, folder + path


def test_no_path_leads_out_of_a_folder(ask, folders):
    shell = ask("/").body
    for folder in folders:
        for up in UP:
            for path in ("channel.py", "app.py", "ui/photo.py", "etc/passwd"):
                for times in (1, 3, 8):
                    asked = folder + f"{up}/" * times + path
                    answer = ask(asked)
                    assert answer.status >= 400 or answer.body == shell, asked


def test_folders_are_not_listed(ask, folders):
    shell = ask("/").body
    for folder in folders:
        assert ask(folder).body in (shell, b"") or ask(folder).status >= 400, folder


@pytest.mark.parametrize(
    "path",
    [
        *("/%00", "//etc/passwd", "/\\\\host\\share", "/~root/", "/%ff", "/static//etc/passwd"),
        *("//elsewhere.example/", "/%2felsewhere.example/", "/\\elsewhere.example/"),
    ],
)
def test_odd_paths_give_nothing_away_and_lead_nowhere(ask, path):
    answer = ask(path)
    assert answer.status >= 300 or answer.body == ask("/").body
    assert b"Traceback" not in answer.body
    assert re.match(r"/(?![/\\])", answer.headers.get("location", "/"))


# ---------------------------------------------------------------- other sites


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": FOREIGN},
        {"X_Xsrftoken": "a"},
        {"X_Xsrftoken": "a", "Cookie": "_streamlit_xsrf=a"},
        {"X_Xsrftoken": "", "Cookie": "_streamlit_xsrf="},
    ],
    ids=str,
)
def test_an_upload_without_its_token_is_refused(ask, method, headers):
    answer = ask("/_stcore/upload_file/session/file", method, b"x", **headers)
    assert answer.status == http.client.FORBIDDEN


def test_no_other_site_may_read_an_answer(ask, server):
    paths = ["/", "/_stcore/health", "/_stcore/host-config", "/_stcore/metrics", "/media/x"]
    for path in paths:
        assert "access-control-allow-origin" not in ask(path, Origin=FOREIGN).headers, path
    allowed = ask("/_stcore/upload_file/session/file", "OPTIONS", Origin=FOREIGN).headers
    assert allowed["access-control-allow-origin"] not in ("*", FOREIGN, "null")


@pytest.mark.parametrize("origin", [FOREIGN, "null", "", "http://127.0.0.1.elsewhere.example"])
def test_no_other_site_may_open_a_session(ask, origin, server):
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    upgrade |= {"Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": key}
    opened = ask("/_stcore/stream", Origin=server, **upgrade)
    assert opened.status == http.client.SWITCHING_PROTOCOLS
    assert ask("/_stcore/stream", Origin=origin, **upgrade).status == http.client.FORBIDDEN


def test_no_other_site_may_steer_the_app_from_a_frame_around_it(ask):
    assert b'"allowedOrigins":[]' in ask("/_stcore/host-config").body


def test_programs_may_not_drive_the_app(ask):
    assert ask("/_stcore/agent/interact", "POST", b"{}").status == http.client.FORBIDDEN
    called = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    assert b"tools" not in ask("/_stcore/agent/mcp", "POST", called).body


# ---------------------------------------------------------------- what is told


def test_the_metrics_count_and_name_nobody(ask, folders):
    told = ask("/_stcore/metrics").body.decode()
    assert set(re.findall(r"^# TYPE (\w+)", told, re.MULTILINE)) <= {
        *("session_events", "session_duration_seconds", "active_sessions", "cache_memory_bytes"),
    }
    assert str(ROOT) not in told
    assert not re.search(r"session_id|user|upload", told)


def test_a_page_that_is_not_there_is_no_error(open_page, problems):
    page = open_page("no_such_page")
    expect(page.get_by_test_id("stMain")).not_to_contain_text("Traceback")
    problems.clear()


def test_a_page_that_fails_tells_no_traceback(tmp_path: Path, browser, settled):
    with running_app(tmp_path / "log", "tests/browser/apps/failing_app.py") as address:
        context = browser.new_context(locale="en")
        page = context.new_page()
        page.goto(address)
        settled(page)
        expect(page.get_by_test_id("stException")).to_be_visible()
        shown = page.content()
        context.close()
    assert "Traceback" in (tmp_path / "log").read_text()
    for told in ("Traceback", "RuntimeError", "a secret", "failing_app.py", str(ROOT)):
        assert told not in shown
