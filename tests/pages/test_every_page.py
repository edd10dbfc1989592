"""What holds for every page in every language, whatever a link or a photo brings along."""

import io
import itertools
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.pages.conftest import complaints, pieces
from ui.catalogue import CONCEPTS
from ui.language import LANGUAGES
from ui.photo import Photo
from ui.samples import DEFAULT, SAMPLES, sample
from ui.text import load

PAGES = [concept.id for concept in CONCEPTS]
NONSENSE = [
    *("", " ", "nan", "inf", "-inf", "1e999", "-1e9", "1e9", "0x10", "--5", "-", "²", "½"),
    *("None", "True", "[]", "{}", "[1, 2]", "{'a': 1}", ",", "1,", "nan,nan", "_", "3.1.1.1"),
    *("../../etc/passwd", "<script>alert(1)</script>", "\0", "\ud7ff", "%s", "{0.__class__}"),
    *("' OR 1=1", "😀", "\u202e", "$\\infty$", "9" * 4300, "1" + "0" * 400, "1e-400,"),
]
LONG = ["x" * 100_000, "9" * 100_000, "1_" * 50_000, "-" * 100_000, "9." * 50_000]
MOST_LONG = 4  # Streamlit drops the whole query from 512 kB on


def upload(width: int, height: int, colour: str = "white") -> Photo:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return Photo.from_bytes(file.getvalue(), "upload.png")


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=LANGUAGES)
def lang(request: pytest.FixtureRequest) -> str:
    return request.param


def test_home_opens(open_page, lang):
    app = open_page("", lang)
    assert complaints(app) == []
    assert app.title[0].value == load("home", lang).title
    assert [node.label for node in app.get("page_link") if node.label.startswith("**")] == [
        f"**{load(page, lang).title}**" for page in PAGES
    ]


def test_a_page_opens_with_all_of_its_steps(open_page, drawn, page, lang):
    app = open_page(page, lang)
    text = load(page, lang)
    assert complaints(app) == []
    assert app.title[0].value == text.title
    steps = [name for name in text.sections if name != "sources"]
    assert [step.id for step in drawn.steps] == [f"{page}.{name}" for name in steps]
    assert [bar["step"] for bar in pieces(app, "toolbar")] == [step.id for step in drawn.steps]
    assert not app.info  # the first view shows something, not a reason why there is nothing
    assert app.query_params == {"lang": lang}  # defaults stay out of the link


@pytest.mark.timeout(600)  # it opens the page dozens of times
def test_a_page_opens_at_every_end_of_every_control(open_page, drawn, page):
    failed = {}
    for query in links(drawn):
        said = complaints(open_page(page, **query))
        stands = {key: drawn.values.get(key) for key in query}
        if said or stands != query:
            failed[str(query)] = said or stands
    assert failed == {}


def links(drawn) -> Iterator[dict[str, str]]:
    """A link to both ends or all options of every control, those that only some options show too.

    For a control that a choice brings out the link makes that choice too. Each is to be opened
    before the next is asked for: what it shows decides which come later.
    """
    waiting, seen = [{}], set()
    while waiting:
        base = waiting.pop(0)
        yield base
        new = {key: ends for key, ends in drawn.ends.items() if key not in seen}
        seen |= new.keys()
        waiting += [base | {key: end} for key, ends in new.items() for end in ends]


@pytest.mark.timeout(600)
def test_a_page_opens_with_any_two_controls_at_any_of_their_ends(open_page, drawn, page):
    ends: dict[str, list[str]] = {}
    for end, lang in ((0, "en"), (-1, "zh")):
        for query in all_at_one_end(open_page, drawn, page, lang, end):
            assert complaints(open_page(page, lang, **query)) == [], query
            ends |= drawn.ends
    for query, lang in zip(mixed(ends), itertools.cycle(LANGUAGES), strict=False):
        assert complaints(open_page(page, lang, **query)) == [], query


def mixed(ends: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    """Links with half of the controls low and half high: any two differ in one of them, both ways.

    The places of two controls, in binary, differ in some digit.
    """
    for digit in range((len(ends) - 1).bit_length()):
        for high in (0, 1):
            places = enumerate(ends.items())
            yield {key: at[-(place >> digit & 1 == high)] for place, (key, at) in places}


def all_at_one_end(
    open_page, drawn, page: str, lang: str, end: int, **options: Photo
) -> Iterator[dict[str, str]]:
    """A link to that end of all controls, then of those too that it brings out, and so on."""
    open_page(page, lang, **options)
    query: dict[str, str] = {}
    while drawn.ends.keys() - query.keys():
        query |= {key: ends[end] for key, ends in drawn.ends.items() if key not in query}
        yield query


def test_nonsense_in_a_link_opens_the_defaults(open_page, drawn, page):
    """Every parameter that the page looks at is asked for something else, in every turn anew."""
    open_page(page)
    values, boxes = dict(drawn.values), dict(drawn.boxes)
    keys = [*sorted(drawn.asked - {"lang", "formula"}), "lang_", "unknown"]
    assert values.keys() | boxes.keys() <= drawn.asked
    for query, lang in zip(nonsense(keys, list(boxes)), itertools.cycle(LANGUAGES), strict=False):
        app = open_page(page, lang, **query)
        assert complaints(app) == []
        assert len(app.info) <= 1
        assert drawn.values == values
        assert drawn.boxes == boxes
        assert not (values.keys() | boxes.keys()) & app.query_params.keys()


def nonsense(keys: list[str], boxes: list[str]) -> Iterator[dict[str, str | list[str]]]:
    """Links that ask of every key, some a few keys at a time, some for two things at once."""
    digest = sample(DEFAULT).digest[:6]
    texts = itertools.cycle(NONSENSE)
    for _turn in range(3):
        query = {key: next(texts) for key in keys}
        query |= {key: f"{digest}-{next(texts) or '.'}" for key in boxes}
        yield {key: [text, next(texts)] if text else text for key, text in query.items()}
    texts = itertools.cycle(LONG)
    for start in range(0, len(keys), MOST_LONG):
        yield {key: next(texts) for key in keys[start : start + MOST_LONG]}


def test_a_language_that_does_not_exist_is_the_browsers(open_page, page):
    assert complaints(open_page(page, "xx")) == []
    assert open_page(page, "xx").title[0].value == load(page, "en").title


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_photo_works(open_page, drawn, page, name):
    app = open_page(page, uploaded=sample(name))
    assert complaints(app) == []
    assert len(drawn.steps) == len(pieces(app, "toolbar")) > 0


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 1024), (30_000, 3), (3, 30_000), (16, 16), (1024, 1024)], ids=str
)
def test_every_shape_of_photo_works(open_page, drawn, page, size):
    photo = upload(*size)
    assert max(photo.width, photo.height) <= 1024
    app = open_page(page, uploaded=photo)
    assert complaints(app) == []
    assert app.session_state["photo"] is photo


@pytest.mark.parametrize("end", [0, -1], ids=["low", "high"])
def test_every_control_works_on_a_single_pixel(open_page, drawn, page, end):
    photo = upload(1, 1)
    for query in all_at_one_end(open_page, drawn, page, "en", end, uploaded=photo):
        assert complaints(open_page(page, uploaded=photo, **query)) == [], query


def test_an_upload_named_in_a_link_is_replaced_and_said_so(open_page, page, lang):
    app = open_page(page, lang, photo="upload")
    assert complaints(app) == []
    assert app.session_state["photo"] is sample(DEFAULT)
    assert len(app.info) == 1
