"""Two replicas of the app behind nginx, as deploy/ has them: the image's files, its nginx.conf."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Response, WebSocket, expect

from tools.browser import ROOT, free_port, running_server

PAGE = "softmax_temperature"
STATE = "source=own&T=4.0"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
WITHOUT_NGINX = "these tests need nginx: run tools/install_nginx.sh"


class Replica:
    """One process of the app, on a port that it keeps."""

    def __init__(self, name: str, image: Path, log: Path) -> None:
        self.name, self.image, self.log = name, image, log
        self.port = free_port()

    def start(self, lifetime: ExitStack) -> None:
        server = running_server(self.log, self.port, folder=self.image)
        self.process = lifetime.enter_context(server)

    def die(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def visitors(self) -> int:
        """The sessions that it holds, by its own account."""
        families = f"http://127.0.0.1:{self.port}/_stcore/metrics?families=active_sessions"
        with urlopen(families, timeout=10) as answer:
            return int(re.search(r"^active_sessions (\d+)", answer.read().decode(), re.M)[1])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile copies: the names that .dockerignore lets in."""
    folder = tmp_path_factory.mktemp("image")
    for name in re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


@pytest.fixture(scope="module")
def lifetime() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def replicas(
    image: Path, lifetime: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Replica]:
    logs = tmp_path_factory.mktemp("logs")
    found = {name: Replica(name, image, logs / f"{name}.log") for name in ("one", "two")}
    for replica in found.values():
        replica.start(lifetime)
    return found


@pytest.fixture(scope="module")
def server(
    replicas: dict[str, Replica], lifetime: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The address of nginx, which may write nothing but its log: `open_page` goes there."""
    assert NGINX, WITHOUT_NGINX
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    settings = folder / "nginx.conf"
    settings.write_text(rendered(folder, port, list(replicas.values())))
    with (folder / "error.log").open("w") as log:
        process = subprocess.Popen([NGINX, "-c", settings, "-g", "daemon off;"], stderr=log)
    lifetime.callback(process.wait, timeout=10)
    lifetime.callback(process.terminate)
    address = f"http://127.0.0.1:{port}"
    wait_for(lambda: process.poll() is None and answers(f"{address}/_stcore/health"))
    for temporary in folder.glob("nginx_*"):
        temporary.chmod(0)
    return address


def rendered(folder: Path, port: int, replicas: list[Replica]) -> str:
    """deploy/nginx.conf with the tests' addresses and paths."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    known = {"/run/": f"{folder}/", "listen 80;": f"listen 127.0.0.1:{port};"}
    for example, replica in zip(("10.0.0.11:8501", "10.0.0.12:8501"), replicas, strict=True):
        own = f"127.0.0.1:{replica.port}"
        known |= {example: own, example.replace(".", r"\."): own.replace(".", r"\.")}
    for example, own in known.items():
        assert example in text
        text = text.replace(example, own)
    return text


def answers(address: str) -> bool:
    try:
        urlopen(address, timeout=1).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ---------------------------------------------------------------- what a visitor sees


def cookie(page: Page) -> str:
    """The name of the replica in the visitor's cookie."""
    return next(c["value"] for c in page.context.cookies() if c["name"] == "replica")


def set_last_logit(page: Page, key: str, largest: str) -> None:
    """Move the last logit to an end of its range; the replica says which class is the largest."""
    logits = page.locator(f".st-key-{PAGE}-logits")
    logits.get_by_role("slider", name="10", exact=True).press(key)
    says(page, largest)


def says(page: Page, text: str) -> None:
    said = page.locator(f".st-key-{PAGE}-soften-says p").first
    expect(said).to_contain_text(text, timeout=20_000)


def upload(page: Page, content: bytes) -> None:
    """Upload a photo and wait until the page shows it."""
    page.get_by_role("button", name="Change photo").first.click()
    file = {"name": "photo.bmp", "mimeType": "image/bmp", "buffer": content}
    page.get_by_role("dialog").locator("input[type=file]").set_input_files(file)
    expect(page).to_have_url(re.compile("photo=upload"), timeout=60_000)
    expect(page.get_by_role("dialog")).to_have_count(0)


def noise(side: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


# ---------------------------------------------------------------- tests


def test_the_image_is_slim_not_root_and_notices_when_its_server_is_gone(replicas):
    told = (ROOT / "deploy" / "Dockerfile").read_text()
    user = re.search(r"^USER (\d+)$", told, re.M)[1]
    manifest = (ROOT / "deploy" / "kubernetes.yaml").read_text()
    assert re.search(r"^FROM python:[\d.]+-slim$", told, re.M)
    assert int(user) > 0
    assert f"useradd --uid {user} " in told
    assert f"runAsUser: {user}\n" in manifest
    command = json.loads(re.search(r"^HEALTHCHECK .*\\\n +CMD (.*)$", told, re.M)[1])

    def healthy(port: int) -> bool:
        look = command[-1].replace("8501", str(port))
        done = subprocess.run([sys.executable, *command[1:-1], look], stderr=subprocess.DEVNULL)
        return done.returncode == 0

    assert all(healthy(replica.port) for replica in replicas.values())
    assert not healthy(free_port())


def test_visitors_stay_with_their_replica_and_are_spread_over_both(open_page, settled, replicas):
    pages = [open_page() for _ in range(4)]
    names = [cookie(page) for page in pages]
    assert sorted(names) == ["one", "one", "two", "two"]
    for page in pages[:2]:
        page.reload()
        settled(page)
    pages[0].get_by_test_id("stSidebar").get_by_role("link").nth(1).click()
    settled(pages[0])
    assert [cookie(page) for page in pages] == names
    wait_for(lambda: [replica.visitors() for replica in replicas.values()] == [2, 2])


def test_websocket_and_an_upload_of_20_megabytes_pass_and_nginx_writes_nothing(open_page, settled):
    page = open_page(f"{PAGE}?{STATE}")
    set_last_logit(page, "End", "class 10 gets")
    content = noise(2581)
    assert 19_900_000 < len(content) <= 20_000_000  # Streamlit's own limit is in these megabytes
    upload(page, content)
    says(settled(page), "class 10 gets")


def test_what_never_changes_is_kept_by_the_browser_and_scripts_are_compressed(open_page):
    responses: list[Response] = []
    page = open_page(
        PAGE, before=lambda page: page.on("response", lambda each: responses.append(each))
    )
    expect(page.get_by_role("slider").first).to_be_visible()  # our own scripts are there
    answers = {response.url: response.all_headers() for response in responses}
    home = next(iter(answers.values()))
    assert home["cache-control"] == "no-cache"
    assert home["x-content-type-options"] == "nosniff"
    assert home["server"] == "nginx"
    scripts = {url: headers for url, headers in answers.items() if url.endswith(".js")}
    assert {"static", "component"} == {url.split("/")[3] for url in scripts}
    for url, headers in scripts.items():
        assert "immutable" in headers["cache-control"], url
        assert "set-cookie" not in headers, url
        assert headers.get("content-encoding") == "gzip" or int(headers["content-length"]) < 1000


@pytest.mark.parametrize("path", ["/", f"/{PAGE}", "/_stcore/health", "/_stcore/metrics"])
def test_every_answer_tells_the_browser_what_the_app_may_do(server, path):
    try:
        answer = urlopen(server + path, timeout=10)
    except HTTPError as error:
        answer = error
    assert answer.status == (404 if path.endswith("metrics") else 200)
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "SAMEORIGIN"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'self'"
    assert policy["object-src"] == "'none'"
    scripts = policy["script-src"].split()
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & set(scripts)


def collecting(connections: list[WebSocket]) -> Callable[[Page], None]:
    return lambda page: page.on("websocket", lambda socket: connections.append(socket))


def test_a_dead_replica_costs_its_own_sessions_alone_and_they_go_on_from_their_link(
    open_page, settled, replicas, lifetime, problems
):
    connections: list[WebSocket] = []
    pages = [open_page(f"{PAGE}?{STATE}", before=collecting(connections)) for _ in range(2)]
    for page in pages:
        set_last_logit(page, "End", "class 10 gets")
        settled(page)
    (lost, first), (kept, second) = sorted(
        zip(pages, connections, strict=True), key=lambda visitor: cookie(visitor[0])
    )
    link = lost.url

    replicas["one"].die()
    set_last_logit(kept, "Home", "class 1 gets")
    wait_for(lambda: replicas["two"].visitors() == 2)
    settled(lost)
    assert (cookie(lost), lost.url) == ("two", link)
    says(lost, "At T = 4 class 10 gets")
    set_last_logit(lost, "Home", "class 1 gets")
    newcomer = open_page(PAGE)
    assert cookie(newcomer) == "two"
    problems.clear()  # the lost connection is in the console

    replicas["one"].start(lifetime)
    upload(lost, noise(100))
    assert cookie(lost) == "two"
    assert (first.is_closed(), second.is_closed()) == (True, False)
