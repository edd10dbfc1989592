"""The app and a real browser, for the browser tests, the bench and the thumbnails."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
START_SECONDS = 60
SETTLE_MILLISECONDS = 30_000
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
UNFINISHED = (
    '[data-stale="true"], [data-testid="stAppSkeleton"], [data-testid="stSkeleton"], '
    '[data-testid="stBidiComponentRegular"]:not(:has(.live))'
)
# The browser is not told of short runs: whatever has been sent must have been answered too.
QUIET = """() => {
  window.wire ??= (() => {
    const wire = { sent: 0, received: 0 };
    const sockets = new WeakSet();
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (message) {
      if (!sockets.has(this)) {
        sockets.add(this);
        this.addEventListener("message", () => { wire.received = performance.now(); });
      }
      wire.sent = performance.now();
      send.call(this, message);
    };
    return wire;
  })();
  const app = document.querySelector('[data-testid="stApp"]');
  const idle = app?.dataset.testScriptState === "notRunning"
    && app.dataset.testConnectionState === "CONNECTED"
    && window.wire.received >= window.wire.sent
    && !document.querySelector('UNFINISHED');
  window.idleSince = idle ? (window.idleSince ?? performance.now()) : null;
  return idle && performance.now() - Math.max(window.idleSince, window.wire.received) > 200;
}""".replace("UNFINISHED", UNFINISHED)


@contextmanager
def running_app(log: Path, script: str = "app.py", **environment: str) -> Iterator[str]:
    """Start the app, or another script, on a free port, yield its address, stop it."""
    port = free_port()
    with running_server(log, port, script, **environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_server(
    log: Path, port: int, script: str = "app.py", folder: Path = ROOT, **environment: str
) -> Iterator[subprocess.Popen]:
    """Start the app, or another script, in a folder, yield its process, stop it."""
    command = [sys.executable, "-m", "streamlit", "run", script]
    options = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command + options,
            cwd=folder,
            env=os.environ | {"VISION_DEVICE": "cpu"} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(f"{address}/_stcore/health", timeout=1).close()
            return
        except (URLError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"the app did not start:\n{log.read_text()}")


def process_behind(address: str) -> int:
    """The number of the process that `running_app` has started there; Linux alone tells it."""
    option = f"--server.port={address.rpartition(':')[2]}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if option in (folder / "cmdline").read_bytes().split(b"\0"):
                return int(folder.name)
        except OSError:
            continue
    raise ProcessLookupError(f"no server was found behind {address}")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's Chromium where it is installed, else Playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        yield browser
        browser.close()


def settle(page: Page) -> Page:
    """Wait until the app has answered everything and stayed quiet for a moment."""
    page.evaluate("window.idleSince = null")
    page.wait_for_function(QUIET, timeout=SETTLE_MILLISECONDS)
    return page
