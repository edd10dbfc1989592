"""Draw the gallery's thumbnails and the README's picture from the pages themselves.

`make thumbnails` opens every concept on the default sample and saves the first picture of the step
that the catalogue names in assets/thumbnails, and one page as assets/readme/<id>.webp. A thumbnail
is <id>.jpg if it shows a photo and <id>.png if it shows a chart: Streamlit sends these as they are.
"""

import base64
import io
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Locator, Page

from tools.browser import ROOT, running_app, running_browser, settle
from ui.catalogue import CONCEPTS, Concept

SIZE = (640, 400)
SCALE = 1.5  # device pixels per CSS pixel
THUMBNAILS = ROOT / "assets" / "thumbnails"
README = ROOT / "assets" / "readme" / "anchors_nms.webp"
README_STEP = "suppression"
GREY = "#8A9099"  # can be read on light and on dark
SQUARE_CORNERS = ".stage-frame, .stage-frame canvas { border-radius: 0 !important; }"
DRAWN = """(picture) => picture.matches(".stage-frame")
    ? picture.querySelector(".stage-top").__stage.view
    : picture.querySelector(".main-svg")"""
# The photo without its margin, whose colour is that of one theme.
PHOTO = """(picture) => {
    const { left, top, width, height } = picture.querySelector(".stage-top").__stage.view;
    return [left, top, width - left, height - top];
}"""
DRAW_CHART = """async (plot, [width, height, color]) => {
    const layout = { ...plot.layout, font: { ...plot.layout.font, color, size: 18 } };
    const chart = { data: plot.data, layout };
    return await window.Plotly.toImage(chart, { format: "png", width, height });
}"""


def open_concept(browser: Browser, server: str, concept: str) -> Page:
    view = {"width": 1280, "height": 910}
    page = browser.new_page(viewport=view, device_scale_factor=SCALE)
    page.goto(f"{server}/{concept}?lang=en")
    return settle(page)


def thumbnail(page: Page, concept: Concept) -> Image.Image:
    """The step's first picture: a photo fills the thumbnail, a chart has no ground of its own."""
    picture = first_picture(page, concept.id, concept.thumbnail)
    if "live-plot" in picture.get_attribute("class"):
        drawn = picture.evaluate(DRAW_CHART, [*SIZE, GREY]).partition(",")[2]
        return Image.open(io.BytesIO(base64.b64decode(drawn)))
    page.add_style_tag(content=SQUARE_CORNERS)
    shot = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
    shot = shot.crop([round(SCALE * edge) for edge in picture.evaluate(PHOTO)])
    return ImageOps.fit(shot, SIZE, Image.Resampling.LANCZOS, bleed=0.004, centering=(0.5, 0))


def first_picture(page: Page, concept: str, step: str) -> Locator:
    drawn = page.locator(f".st-key-step-{concept}-{step}").locator(".stage-frame, .live-plot")
    drawn.first.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN, arg=drawn.first.element_handle())
    settle(page)
    return drawn.first


def heading(page: Page, step: str) -> Locator:
    return page.locator(f"#{step.replace('_', '-')}")


def save_thumbnail(image: Image.Image, concept: str) -> None:
    for suffix in (".jpg", ".png"):
        (THUMBNAILS / f"{concept}{suffix}").unlink(missing_ok=True)
    if image.mode == "RGBA":
        few_colours = image.quantize(128, method=Image.Quantize.FASTOCTREE)
        few_colours.save(THUMBNAILS / f"{concept}.png", optimize=True)
    else:
        save_small(image, THUMBNAILS / f"{concept}.jpg", "JPEG", 60_000)


def save_small(image: Image.Image, path: Path, form: str, most_bytes: int) -> None:
    """At the best quality that keeps the file small."""
    for quality in range(90, 10, -5):
        file = io.BytesIO()
        image.save(file, form, quality=quality)
        if file.tell() <= most_bytes:
            break
    path.write_bytes(file.getvalue())


def draw(browser: Browser, server: str, concept: Concept) -> None:
    page = open_concept(browser, server, concept.id)
    save_thumbnail(thumbnail(page, concept), concept.id)
    page.close()


def draw_readme(browser: Browser, server: str) -> None:
    page = open_concept(browser, server, README.stem)
    first_picture(page, README.stem, README_STEP)
    heading(page, README_STEP).evaluate("heading => heading.scrollIntoView()")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    save_small(shot, README, "WEBP", 200_000)


def main() -> None:
    THUMBNAILS.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as folder,
        running_app(Path(folder) / "server.log") as server,
        running_browser() as browser,
    ):
        for concept in CONCEPTS:
            draw(browser, server, concept)
        draw_readme(browser, server)


if __name__ == "__main__":
    main()
