"""What surrounds every page: navigation, language, links, toolbar, narrow screens."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tools.browser import free_port, running_app, running_server, settle
from ui import catalogue
from ui.text import load

PAGE = "anchors_nms"
WATCH_NAVIGATION = """
window.intruders = [];
const look = () => {
    const found = '[data-testid^="stSidebarNav"], [data-testid^="stTopNav"]';
    for (const node of document.querySelectorAll(found)) intruders.push(node.dataset.testid);
};
new MutationObserver(look).observe(document, { subtree: true, childList: true });
const everyFrame = () => { look(); requestAnimationFrame(everyFrame); };
everyFrame();
"""
CONCEPTS = len(catalogue.CONCEPTS)
LANGUAGE = {"English": "en", "简体中文": "zh"}
TITLE = {lang: load(PAGE, lang).title for lang in ("en", "zh")}
HOME = {lang: load("home", lang).title for lang in ("en", "zh")}
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def keyed(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{re.sub(r'[^A-Za-z0-9_-]', '-', key)}")


def slider(page: Page, key: str) -> Locator:
    return keyed(page, f"{PAGE}.{key}").get_by_role("slider")


def toolbar(page: Page, step: str, button: str) -> Locator:
    """A button of a step's toolbar by its place: link, png, data, pin, code."""
    place = ["link", "png", "data", "pin", "code"].index(button)
    return keyed(page, f"{PAGE}.{step}.toolbar").locator("button").nth(place)


def steps(concept: str) -> list[str]:
    return [name for name in load(concept, "en").sections if name != "sources"]


def shown(page: Page, concept: str = PAGE) -> dict[str, str]:
    """What a visitor reads off the page: every slider and every sentence."""
    expect(page.locator(".live-toolbar")).to_have_count(len(steps(concept)))
    sliders = page.locator(".live-slider input").all()
    sentences = page.locator(".live-sentence p:first-child").all()
    return {
        "sliders": " | ".join(node.get_attribute("aria-valuetext") for node in sliders),
        "sentences": " | ".join(node.text_content() for node in sentences),
    }


def heading(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


# ---------------------------------------------------------------- navigation


def test_the_servers_first_visitor_on_a_link_sees_the_frame_and_no_other_navigation(
    browser: Browser, tmp_path: Path
):
    with running_app(tmp_path / "server.log") as address:
        context = browser.new_context(locale="en")
        context.add_init_script(WATCH_NAVIGATION)
        page = context.new_page()
        page.goto(f"{address}/{PAGE}")
        settle(page)
        heading(page, TITLE["en"])
        expect(page.get_by_test_id("stSidebar").get_by_role("link")).to_have_count(1 + CONCEPTS)
        expect(page.locator(".live-toolbar")).to_have_count(len(steps(PAGE)))
        assert page.evaluate("window.intruders") == []
        context.close()


def test_from_home_to_a_concept_and_back(open_page, settled):
    page = open_page(before=lambda page: page.add_init_script(WATCH_NAVIGATION))
    heading(page, HOME["en"])
    page.get_by_test_id("stMain").get_by_role("link", name=TITLE["en"]).first.click()
    heading(page, TITLE["en"])
    expect(page).to_have_url(re.compile(rf"/{PAGE}\?"))
    expect(page).to_have_title(re.compile(re.escape(TITLE["en"])))
    settled(page)
    page.get_by_test_id("stSidebar").get_by_role("link").first.click()
    heading(page, HOME["en"])
    settled(page)
    page.go_back()
    heading(page, TITLE["en"])
    assert page.evaluate("window.intruders") == []


def test_what_was_set_is_still_set_after_a_look_at_home(open_page, settled):
    page = open_page(PAGE)
    slider(page, "stride").focus()
    page.keyboard.press("ArrowRight")
    keyed(page, f"{PAGE}.per_class").locator("label").click()
    expect(page).to_have_url(re.compile(r"(?=.*stride=32)(?=.*per_class=0)"))
    settled(page)
    before = shown(page)
    page.get_by_test_id("stSidebar").get_by_role("link").first.click()
    heading(page, HOME["en"])
    page.get_by_test_id("stSidebar").get_by_role("link", name=TITLE["en"]).click()
    heading(page, TITLE["en"])
    settled(page)
    assert shown(page) == before
    expect(page).to_have_url(re.compile(r"(?=.*stride=32)(?=.*per_class=0)"))
    expect(keyed(page, f"{PAGE}.per_class").get_by_role("switch")).not_to_be_checked()


# ---------------------------------------------------------------- language


@pytest.mark.parametrize(
    ("browser_language", "seen"), [("zh-CN", "zh"), ("en-GB", "en"), ("de-DE", "en")]
)
def test_the_first_language_is_the_browsers(open_page, browser_language, seen):
    heading(open_page(lang=browser_language), HOME[seen])


def test_the_language_is_switched_kept_and_in_the_link(open_page, settled):
    page = open_page(lang="zh-CN")
    document = page.locator("html")
    heading(page, HOME["zh"])
    expect(document).to_have_attribute("lang", "zh")
    page.get_by_test_id("stSidebar").get_by_role("radio", name="English").click()
    heading(page, HOME["en"])
    expect(document).to_have_attribute("lang", "en")
    expect(page).to_have_url(re.compile("lang=en"))
    page.get_by_test_id("stMain").get_by_role("link", name=TITLE["en"]).first.click()
    heading(page, TITLE["en"])
    expect(page).to_have_url(re.compile("lang=en"))
    settled(page)
    before = shown(page)
    page.get_by_test_id("stSidebar").get_by_role("radio", name="简体中文").click()
    heading(page, TITLE["zh"])
    expect(document).to_have_attribute("lang", "zh")
    expect(page).to_have_url(re.compile("lang=zh"))
    settled(page)
    assert shown(page)["sliders"] == before["sliders"]
    assert shown(page)["sentences"] != before["sentences"]
    heading(open_page(page.url.split("/", 3)[3], lang="en-GB"), TITLE["zh"])


LINKS = [
    "initialization?scheme=orthogonal&activation=tanh",
    "attention_maps?cbam=swapped",
    "optimizers?surface=typed&one=nadam",
    "softmax_temperature?left_out=7",
    "anchors_nms?show=batch",
]

MOVED_AT_ONCE = [
    ("activations", ["mean", "spread", "depth", "start"]),
    ("optimizers", ["x", "factor", "rate", "condition"]),
]


@pytest.mark.parametrize(("concept", "sliders"), MOVED_AT_ONCE)
def test_the_address_says_all_that_was_moved_without_a_pause(open_page, settled, concept, sliders):
    page = open_page(concept)
    for name in sliders:
        expect(keyed(page, f"{concept}.{name}").get_by_role("slider")).to_be_visible()
    page.evaluate(
        """(keys) => keys.forEach((key) => {
            const slider = document.querySelector(`.st-key-${key} input`);
            slider.value = Number(slider.value) + 2;
            for (const event of ["input", "change"]) {
                slider.dispatchEvent(new Event(event, { bubbles: true }));
            }
        })""",
        [f"{concept}-{name}" for name in sliders],
    )
    settled(page)
    expect(page).to_have_url(re.compile("".join(f"(?=.*[?&]{name}=)" for name in sliders)))


WATCH_RUNS = """() => {
    window.told = [];
    const app = document.querySelector("[data-test-script-state]");
    new MutationObserver(() => told.push(app.dataset.testScriptState))
        .observe(app, { attributeFilter: ["data-test-script-state"] });
}"""


def test_the_browser_is_told_of_long_runs_alone(open_page, settled):
    page = open_page("initialization")
    page.evaluate(WATCH_RUNS)
    gain = keyed(page, "initialization.gain").get_by_role("slider")
    for _ in range(5):  # follows in the browser; the server computes a sentence
        gain.press("ArrowRight")
        settled(page)
    assert page.evaluate("told").count("running") < 5  # a busy machine may make one long
    page.get_by_role("button", name="Train all nine").click()
    page.wait_for_function("told.includes('running')")
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("told.at(-1) === 'notRunning'")


@pytest.mark.parametrize("link", LINKS)
def test_all_is_as_before_in_another_language_and_back(open_page, settled, link):
    concept, _, query = link.partition("?")
    page = open_page(f"{link}&lang=en")
    before = shown(page, concept)
    for language in ("简体中文", "English", "简体中文", "English"):
        page.get_by_test_id("stSidebar").get_by_role("radio", name=language).click()
        expect(page.locator("html")).to_have_attribute("lang", LANGUAGE[language])
        settled(page)
    assert shown(page, concept) == before
    assert set(parse_qsl(query)) < set(parse_qsl(urlsplit(page.url).query))


# ---------------------------------------------------------------- a server that stops


def test_a_server_that_begins_anew_knows_the_page_and_what_was_moved_meanwhile(browser, tmp_path):
    port, log = free_port(), tmp_path / "server.log"
    with browser.new_context(locale="en") as context:
        page = context.new_page()
        stride, says = slider(page, "stride"), keyed(page, f"{PAGE}.layout.says")
        with running_server(log, port):
            page.goto(f"http://127.0.0.1:{port}/{PAGE}?stride=32")
            settle(page)
            shown(page)
        with running_server(log, port):
            page.wait_for_selector("[data-test-connection-state=CONNECTED]")
            settle(page)
            stride.press("ArrowRight")
            expect(says).to_contain_text("7 × 9")
        stride.press("ArrowLeft")
        with running_server(log, port):
            expect(says).to_contain_text("15 × 19", timeout=30_000)
            expect(page).to_have_url(re.compile("stride=32"))
            assert stride.get_attribute("aria-valuetext") == "32 px"


# ---------------------------------------------------------------- links


def test_a_copied_link_opens_the_same_state_in_another_browser(open_page, settled):
    page = open_page(f"{PAGE}?photo=coffee", **CLIPBOARD)
    keyed(page, f"{PAGE}.layout.preset.SSD").get_by_role("button").click()
    expect(page).to_have_url(re.compile("layout=ssd"))
    slider(page, "positive").focus()
    page.keyboard.press("PageDown")
    slider(page, "iou").focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile(r"(?=.*positive=0\.6)(?=.*iou=0\.0)"))
    settled(page)
    label = toolbar(page, "worked", "link").text_content()
    toolbar(page, "worked", "link").click()
    expect(toolbar(page, "worked", "link")).not_to_have_text(label)  # says that it has copied
    link = page.evaluate("navigator.clipboard.readText()")
    expect(toolbar(page, "worked", "link")).to_have_text(label)
    assert link.startswith(page.url.split("?")[0])
    other = open_page(link.split("/", 3)[3], lang="zh-CN")
    heading(other, TITLE["en"])
    assert shown(other) == shown(page)
    assert stage_photo(other) == stage_photo(page)


def stage_photo(page: Page) -> list[int]:
    """Some pixels of the photo on the first stage."""
    page.wait_for_function("document.querySelector('.stage-top')?.__stage.view")
    return page.evaluate("""() => {
        const canvas = document.querySelector('.stage-photo');
        const middle = canvas.getContext('2d').getImageData(
            canvas.width / 2, canvas.height / 2, 8, 8);
        return [...middle.data];
    }""")


@pytest.mark.parametrize("path", ["", PAGE])
def test_a_link_to_an_upload_shows_a_sample_and_says_so(open_page, path):
    page = open_page(f"{path}?photo=upload")
    expect(page.get_by_test_id("stAlert")).to_be_visible()
    expect(page.get_by_test_id("stMain").locator("img, .stage").first).to_be_visible()


def test_a_sample_is_chosen_and_its_name_is_in_the_link(open_page, settled):
    page = open_page(PAGE)
    before = stage_photo(page)
    keyed(page, f"{PAGE}.photo").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("radiogroup").get_by_role("radio").nth(2).click()
    expect(dialog.locator("img")).to_have_count(7)
    for credit in dialog.get_by_test_id("stCaptionContainer").all():
        expect(credit.get_by_role("link").first).to_have_attribute("href", re.compile("^https://"))
    keyed(page, "photo_sample_flower").get_by_role("button").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(re.compile("photo=flower"))
    settled(page)
    assert stage_photo(page) != before
    assert stage_photo(open_page(f"{PAGE}?photo=flower")) == stage_photo(page)


# ---------------------------------------------------------------- toolbar


def test_data_come_as_a_table(open_page):
    page = open_page(PAGE)
    with page.expect_download() as download:
        toolbar(page, "layout", "data").click()
    assert download.value.suggested_filename == f"{PAGE}-layout.csv"
    text = download.value.path().read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    total = keyed(page, f"{PAGE}.layout.says").locator("strong").first.text_content()
    assert len(rows) == int(total.replace(",", ""))
    assert all(float(row["x1"]) < float(row["x2"]) for row in rows)
    with page.expect_download() as download:  # once more, and of another step
        toolbar(page, "layout", "data").click()
    assert download.value.path().read_text() == text
    with page.expect_download() as download:
        toolbar(page, "suppression", "data").click()
    assert download.value.suggested_filename == f"{PAGE}-suppression.csv"


def test_code_is_shown_and_hidden_again(open_page):
    page = open_page(PAGE)
    step = keyed(page, f"step-{PAGE}.layout")
    toolbar(page, "layout", "code").click()
    expect(toolbar(page, "layout", "code")).to_have_attribute("aria-pressed", "true")
    code = page.get_by_test_id("stCode")
    expect(code.first).to_contain_text("def make_anchors(")
    page.get_by_role("tab").nth(1).click()
    expect(code.nth(1)).to_contain_text("print(")
    slider(page, "stride").focus()
    page.keyboard.press("ArrowRight")
    expect(code.nth(1)).to_contain_text("make_anchors((500, 634), 32,")
    toolbar(page, "layout", "code").click()
    expect(code).to_have_count(0)
    expect(step).to_be_visible()


def test_pin_keeps_stage_figure_and_sentence(open_page):
    page = open_page(PAGE)
    pin, says = toolbar(page, "suppression", "pin"), keyed(page, f"{PAGE}.suppression.says")
    pin.scroll_into_view_if_needed()
    before = says.locator("p").first.text_content()
    label = pin.text_content()
    pin.click()
    expect(pin).to_have_attribute("aria-pressed", "true")
    slider(page, "iou").focus()
    page.keyboard.press("End")
    expect(says.locator("p").first).not_to_have_text(before)
    expect(says.locator(".live-pinned")).to_contain_text(before)
    top = keyed(page, f"{PAGE}.suppression.stage").locator(".stage-top")
    assert top.evaluate("node => node.__stage.ghost")
    plot = keyed(page, f"{PAGE}.suppression.curve").locator(".live-plot").element_handle()
    pale = "plot => plot.data?.some((trace) => trace.opacity === 0.35)"
    page.wait_for_function(pale, arg=plot)  # Plotly's script may still be on its way
    pin.click()
    expect(pin).to_have_text(label)
    expect(says.locator(".live-pinned")).to_be_hidden()
    assert not top.evaluate("node => node.__stage.ghost")


def test_png_saves_what_the_step_shows(open_page):
    page = open_page(PAGE)
    with page.expect_download() as download:
        toolbar(page, "layout", "png").click()
    assert download.value.suggested_filename == f"{PAGE}-layout.png"
    with Image.open(download.value.path()) as saved:
        assert saved.format == "PNG"
        assert min(saved.size) > 300


def test_the_page_says_where_and_how_long_it_computed(open_page):
    page = open_page(PAGE)
    status = keyed(page, f"{PAGE}.status")
    expect(status).to_have_text(re.compile(r"^CPU · [\d.]+ ms$"))


# ---------------------------------------------------------------- screens


@pytest.mark.parametrize(("path", "scheme"), [("", "light"), (PAGE, "dark")])
def test_a_narrow_screen_needs_no_sideways_scrolling(open_page, path, scheme):
    page = open_page(path, lang="zh-CN", width=390, height=800, color_scheme=scheme)
    main = page.get_by_test_id("stMain")
    assert main.evaluate("node => node.scrollWidth - node.clientWidth") <= 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for piece in page.locator(".live:visible").all():
        box = piece.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


CUT_OFF = """() => [...document.querySelectorAll(
    '[data-testid="stMain"], [data-testid="stMain"] :is(.katex-display, table, button, label, '
    + '[data-testid="stButtonGroup"] *, [data-testid="stMarkdownContainer"], .live-head, '
    + '.live-table, .live-toolbar, .live-training)'
)].filter((node) => node.clientWidth > 0 && (node.tagName === "TABLE"
    ? node.offsetWidth > node.parentElement.clientWidth + 2
    : node.scrollWidth > node.clientWidth + 2 && getComputedStyle(node).overflowX !== "visible")
).map((node) => `${node.dataset.testid ?? node.className}: ${node.innerText}`.slice(0, 80))"""


@pytest.mark.parametrize("concept", [concept.id for concept in catalogue.CONCEPTS])
def test_nothing_is_cut_off_at_any_width(open_page, settled, concept):
    page = open_page(concept, width=1440, height=9000)
    for width in (1440, 1200, 1000, 768, 390):
        page.set_viewport_size({"width": width, "height": 9000})
        page.wait_for_timeout(300)
        assert settled(page).evaluate(CUT_OFF) == [], width
