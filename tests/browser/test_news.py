"""A page that has been sent nothing but changes looks as one that is opened anew."""

import pytest
from playwright.sync_api import Locator, Page, expect

# All that can be read, but for how long it took; what is out of sight is drawn too, on a page that
# is tall enough.
READ = """() => {
    const texts = [];
    const read = (node) => {
        if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) {
            texts.push(node.textContent.trim().replace(/[\\d.,]+ m?s$/, "some time"));
        } else if (node.nodeType === Node.ELEMENT_NODE) {
            if (getComputedStyle(node).display === "none" || node.matches("style, script")) return;
            if (node.matches("input")) texts.push(`${node.type} ${node.value} ${node.checked}`);
            node.childNodes.forEach(read);
        }
    };
    read(document.querySelector("[data-testid=stMain]"));
    return texts;
}"""
TALL = 9000

WALKS = {
    "optimizers": [
        ("one", "AdaDelta"),
        ("rho", "Home"),
        ("one", "Adam"),
        ("beta1", "ArrowLeft"),
        ("one", "SGD"),
        ("x", "ArrowRight"),
        ("rates", "One by one"),
        ("surface", "Saddle"),
        ("rates", "Together"),
        ("factor", "ArrowLeft"),
        ("one", "AdaDelta"),
        ("surface", "Typed by hand"),
        ("formula", "1 + 1"),
    ],
    "initialization": [
        ("scheme", "Orthogonal"),
        ("layer", "End"),
        ("activation", "tanh"),
        ("layers", "Home"),
        ("width", "Home"),
        ("depth", "Home"),
    ],
    "receptive_field": [
        ("r1", "End"),
        ("other", "no dilation"),
        ("weights", "all equal"),
        ("turn", "1-2-5"),
        ("depth", "Home"),
        ("rates", "2-4-8-12"),
    ],
}


def control(page: Page, concept: str, key: str) -> Locator:
    return page.locator(f".st-key-{concept}-{key}")


def change(page: Page, control: Locator, to: str) -> None:
    """Press a key on a slider, choose what begins so, or write a text."""
    if control.get_by_role("slider").count():
        control.get_by_role("slider").press(to)
    elif control.get_by_role("radio").count():
        control.get_by_role("radio", name=to).click()
    elif control.get_by_role("combobox").count():
        control.get_by_role("combobox").click()
        page.get_by_role("option", name=to).first.click()
    else:
        control.get_by_role("textbox").fill(to)
        control.get_by_role("textbox").press("Enter")


@pytest.mark.parametrize("concept", WALKS)
def test_a_page_after_many_changes_is_what_its_link_shows(open_page, settled, concept):
    page = open_page(concept, height=TALL)
    for key, to in WALKS[concept]:
        change(page, control(page, concept, key), to)
        settled(page)
    opened = open_page(page.url.split("/", 3)[3], height=TALL)
    page.bring_to_front()
    assert page.evaluate(READ)
    expect_equal(opened, page)


def expect_equal(one: Page, other: Page) -> None:
    """Figures are drawn one after the other."""
    for _wait in range(20):
        if one.evaluate(READ) == other.evaluate(READ):
            return
        one.wait_for_timeout(250)
    assert one.evaluate(READ) == other.evaluate(READ)


def test_the_chooser_opens_again_after_it_was_closed(open_page, settled):
    page = open_page("activations")
    for _again in range(3):
        page.get_by_role("button", name="Change photo").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        settled(page)
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
