"""The visitor's photo: shown, or refused in a sentence; private in either case."""

import io
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tools.browser import process_behind, running_app, settle
from ui.catalogue import CONCEPTS
from ui.language import catalogue
from ui.samples import sample

PAGE = "anchors_nms"
MIDDLE = """([width, height]) => {
    const stage = document.querySelector('.stage-top')?.__stage;
    if (!stage?.view) return null;
    const { left, top, sx, sy, ratio } = stage.view;
    const photo = document.querySelector('.stage-photo');
    const at = [left + width / 2 * sx, top + height / 2 * sy].map((x) => Math.floor(x * ratio));
    return [...photo.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
}"""
FIRST_STAGE_IS_THE_PHOTO = {
    "anchors_nms",
    "attention_maps",
    "receptive_field",
    "softmax_temperature",
}
KERNEL = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux's kernel")
NIGHT_CAFE = sample("night_cafe").image.getpixel((317, 250))
REFUSED = {
    "broken": "This picture is damaged and cannot be read. Try to save or export it again.",
    "pixels": (
        "This picture has more than {megapixels} megapixels, the most for its kind of file. "
        "Scale it down first."
    ),
    "kind": (
        "This is not a picture in a format we read. Choose a JPEG, PNG, WebP, BMP, GIF or TIFF."
    ),
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def solid(colour: str, width: int = 320, height: int = 240) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def cmyk() -> bytes:
    return encoded(solid("#C04040").convert("CMYK"), "JPEG")


def palette() -> bytes:
    return encoded(solid("#2060A0").quantize(16), "PNG")


def grey16() -> bytes:
    return encoded(Image.fromarray(np.full((120, 160), 128 * 257, np.uint16)), "PNG")


def animation() -> bytes:
    frames = [solid(colour, 80, 60) for colour in ("#A02020", "#20A020", "#2020A0")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)


def noise(side: int) -> bytes:
    random = np.random.default_rng(0)
    return encoded(Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)), "BMP")


SHOWN = {
    "photo.jpg": (lambda: encoded(solid("#309050"), "JPEG"), (320, 240), (48, 144, 80)),
    "deep.png": (grey16, (160, 120), (128, 128, 128)),
    "print.jpg": (cmyk, (320, 240), (192, 64, 64)),
    "palette.png": (palette, (320, 240), (32, 96, 160)),
    "moving.gif": (animation, (80, 60), (160, 32, 32)),
    "pixel.png": (lambda: encoded(solid("#8040C0", 1, 1), "PNG"), (1, 1), (128, 64, 192)),
    "strip.png": (lambda: encoded(solid("#C08000", 30_000, 60), "PNG"), (1024, 2), (192, 128, 0)),
    "really a png.jpg": (lambda: encoded(solid("#404040"), "PNG"), (320, 240), (64, 64, 64)),
}  # fmt: skip
HOSTILE = {
    "truncated.jpg": (lambda: encoded(Image.open(io.BytesIO(noise(300))), "JPEG")[:9000], "broken"),
    "text.jpg": (lambda: b"This is not a picture at all.\n" * 100, "kind"),
    "empty.png": (lambda: b"", "kind"),
    "bomb.png": (lambda: encoded(Image.new("L", (20_000, 20_000)), "PNG"), "pixels"),
}


def chooser(page: Page) -> Locator:
    """Open the chooser where it is closed."""
    dialog = page.get_by_role("dialog")
    if not dialog.count():
        page.locator("[class*='photo'] button", has_text=re.compile("photo|照片")).first.click()
    expect(dialog.locator("input[type=file]")).to_have_count(1)  # the last dialog's is gone
    return dialog


def upload(page: Page, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    chooser(page).locator("input[type=file]").set_input_files(file)


def sees(page: Page, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """The first stage shows a photo of this size and colour, and no chooser is in the way."""
    near = f"(size) => ({MIDDLE})(size)?.every((part, i) => Math.abs(part - {[*colour]}[i]) < 8)"
    page.wait_for_function(near, arg=size, timeout=20_000)
    expect(page.get_by_role("dialog")).to_have_count(0)


def pictured(page: Page, size: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Home shows a photo of this size and colour, and no chooser is in the way."""
    near = f"""(size) => {{
        const img = document.querySelector('[data-testid=stMain] img');
        if (!img?.complete || img.naturalWidth !== size[0] || img.naturalHeight !== size[1]) return;
        const pixel = new OffscreenCanvas(1, 1).getContext('2d');
        pixel.drawImage(img, size[0] >> 1, size[1] >> 1, 1, 1, 0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3)
            .every((part, i) => Math.abs(part - {[*colour]}[i]) < 8);
    }}"""
    page.wait_for_function(near, arg=size, timeout=20_000)
    expect(page.get_by_role("dialog")).to_have_count(0)


# ---------------------------------------------------------------- shown or refused


def test_every_kind_of_photo_is_shown(open_page):
    page = open_page()
    for name, (content, size, colour) in SHOWN.items():
        upload(page, name, content())
        pictured(page, size, colour)
        expect(page).to_have_url(re.compile("photo=upload"))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_is_no_photo_is_refused_in_a_sentence_and_the_photo_stays(open_page, lang):
    page = open_page(lang=lang)
    upload(page, "photo.png", encoded(solid("#208080"), "PNG"))
    pictured(page, (320, 240), (32, 128, 128))
    for name, (content, reason) in HOSTILE.items():
        upload(page, name, content())
        sentence = catalogue(lang).gettext(REFUSED[reason]).format(megapixels=50)
        alert = page.get_by_role("dialog").get_by_test_id("stAlert").get_by_text(sentence)
        expect(alert).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    pictured(page, (320, 240), (32, 128, 128))
    upload(page, "photo.png", encoded(solid("#804020"), "PNG"))  # and the next one is taken
    pictured(page, (320, 240), (128, 64, 32))


def test_a_photo_is_seen_on_every_page_also_the_oddest(open_page, settled):
    page = open_page()
    links = page.get_by_test_id("stSidebar").get_by_role("link")
    for name in ("photo.jpg", "pixel.png", "strip.png"):
        content, size, colour = SHOWN[name]
        upload(page, name, content())
        pictured(page, size, colour)
        for place, concept in enumerate(CONCEPTS, start=1):
            links.nth(place).click()
            expect(page).to_have_url(re.compile(f"/{concept.id}\\?"))
            if concept.id in FIRST_STAGE_IS_THE_PHOTO:
                sees(page, size, colour)
            settled(page)
            expect(page.get_by_test_id("stException")).to_have_count(0)
        links.first.click()
        pictured(page, size, colour)


# ---------------------------------------------------------------- private


def test_two_visitors_never_see_each_others_photos(open_page, settled):
    red, blue = open_page(PAGE), open_page(PAGE)
    upload(red, "photo.png", encoded(solid("#C02020"), "PNG"))
    upload(blue, "photo.png", encoded(solid("#2020C0"), "PNG"))
    sees(blue, (320, 240), (32, 32, 192))
    sees(red, (320, 240), (192, 32, 32))
    for page, colour in ((red, (192, 32, 32)), (blue, (32, 32, 192))):
        page.locator(f".st-key-{PAGE}-stride").get_by_role("slider").focus()
        page.keyboard.press("ArrowRight")
        settled(page)
        sees(page, (320, 240), colour)
    red.reload()  # a new session: the photo is gone, and said to be
    expect(red.get_by_test_id("stAlert").first).to_be_visible()
    sees(red, (634, 500), NIGHT_CAFE)


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path]]:
    """A server with a folder of its own for temporary files: address, process, folder."""
    folder = tmp_path_factory.mktemp("temporary")
    log = tmp_path_factory.mktemp("guarded") / "server.log"
    with running_app(log, TMPDIR=str(folder)) as address:
        yield address, process_behind(address), folder


@contextmanager
def watched(process: int, folder: Path) -> Iterator[set[str]]:
    """Collect the names of temporary files that a process has open or leaves in a folder."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.update(map(str, folder.iterdir()))
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                try:
                    target = str(descriptor.readlink())
                except OSError:
                    continue
                if target.endswith("(deleted)") or target.startswith(str(folder)):
                    seen.add(target)
            time.sleep(0.002)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


@KERNEL
def test_nothing_of_an_upload_is_written_to_disk(guarded_server, browser):
    address, process, folder = guarded_server
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.goto(f"{address}/{PAGE}")
    settle(page)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (65_536, 65_536))  # no larger file at all
    with watched(process, folder) as seen:
        content = noise(2290)
        assert 15_000_000 < len(content) < 20 * 2**20
        upload(page, "large.bmp", content)
        page.wait_for_function("document.querySelectorAll('[role=dialog]').length === 0")
        expect(page).to_have_url(re.compile("photo=upload"), timeout=20_000)
        settle(page)
    assert seen == set()
    context.close()


@KERNEL
def test_memory_is_given_back_after_hostile_uploads(guarded_server, browser):
    address, process, _folder = guarded_server
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.goto(address)
    settle(page)
    memory = []
    for name in ("bomb.png", "truncated.jpg", "bomb.png", "truncated.jpg"):
        upload(page, name, HOSTILE[name][0]())
        sentence = REFUSED[HOSTILE[name][1]].format(megapixels=50)
        expect(page.get_by_role("dialog").get_by_text(sentence)).to_be_visible()
        settle(page)
        memory.append(megabytes(process))
    assert max(memory[1:]) - memory[0] < 40  # one decoded bomb would be 400
    context.close()


def megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024
