"""The prose format, and that a page is the same page in every language."""

import re

import pytest

from ui.catalogue import CONCEPTS
from ui.language import DEFAULT, LANGUAGES
from ui.text import TEXT, Question, fill, load, parse

SOURCE = """\
# Boxes
> A claim
> on two lines.

## first: The first step
Prose with *emphasis*.

A second paragraph.

## note
No title.

## questions
### How many?
= count
> There are [[count]].

### Which share?
= share ±2%
> About [[share]].

### Which is right?
- [ ] this
- [x] that
> That is.

## sources: Sources
- A paper.
"""
HAN = r"[\u4e00-\u9fff]"
PAGES = sorted(path.stem for path in (TEXT / DEFAULT).glob("*.md"))
OTHERS = [language for language in LANGUAGES if language != DEFAULT]
everywhere = pytest.mark.parametrize("page", PAGES)
translated = pytest.mark.parametrize("language", OTHERS)


def test_parses_title_and_claim():
    text = parse(SOURCE)
    assert (text.title, text.claim) == ("Boxes", "A claim on two lines.")


def test_parses_sections_in_order_without_the_questions():
    sections = parse(SOURCE).sections
    assert list(sections) == ["first", "note", "sources"]
    assert sections["first"].title == "The first step"
    assert sections["first"].body == "Prose with *emphasis*.\n\nA second paragraph."
    assert (sections["note"].title, sections["note"].body) == ("", "No title.")


def test_parses_questions():
    whole, share, choice = parse(SOURCE).questions
    assert whole == Question("How many?", "There are [[count]].", answer="count")
    assert (share.answer, share.tolerance, share.relative) == ("share", 0.02, True)
    assert (choice.text, choice.explanation) == ("Which is right?", "That is.")
    assert (choice.choices, choice.right, choice.answer) == (("this", "that"), 1, "")


def test_a_text_without_questions_has_none():
    assert parse("# Title").questions == ()


def test_a_text_needs_a_title():
    with pytest.raises(ValueError, match="# title"):
        parse("## section: Title\nProse.")


def test_fill_puts_numbers_in_their_places():
    assert fill("[[a]] of [[b]], [[a]]", {"a": 2, "b": "3.5"}) == "2 of 3.5, 2"
    assert fill("[[missing]] of 3", {}) == "… of 3"


@pytest.mark.parametrize(
    ("tolerance", "relative", "given", "wanted", "accepted"),
    [
        (0, False, 9, 9, True),
        (0, False, 9.01, 9, False),
        (0.01, False, 0.51, 0.5, True),
        (0.01, False, 0.511, 0.5, False),
        (0.02, True, 102, 100, True),
        (0.02, True, 97.9, 100, False),
        (0.02, True, -98, -100, True),
        (0.02, True, 0.001, 0, False),
    ],
)
def test_accepts_numbers_within_the_tolerance(tolerance, relative, given, wanted, accepted):
    question = Question("", "", answer="x", tolerance=tolerance, relative=relative)
    assert question.accepts(given, wanted) is accepted


def test_every_concept_has_a_text():
    assert {concept.id for concept in CONCEPTS} <= set(PAGES)


@translated
def test_every_language_has_the_same_pages(language):
    assert sorted(path.stem for path in (TEXT / language).glob("*.md")) == PAGES


@everywhere
def test_nothing_in_a_page_is_empty(page):
    for language in LANGUAGES:
        text = load(page, language)
        assert text.title
        assert text.claim
        assert all(section.body for section in text.sections.values())
        assert all(question.text and question.explanation for question in text.questions)


@everywhere
@translated
def test_sections_are_the_same(page, language):
    wanted, found = load(page, DEFAULT).sections, load(page, language).sections
    assert list(found) == list(wanted)
    assert [bool(s.title) for s in found.values()] == [bool(s.title) for s in wanted.values()]
    assert [_paragraphs(s.body) for s in found.values()] == [
        _paragraphs(s.body) for s in wanted.values()
    ]


@everywhere
@translated
def test_questions_are_the_same(page, language):
    wanted, found = load(page, DEFAULT).questions, load(page, language).questions
    assert [_structure(question) for question in found] == [_structure(q) for q in wanted]


@everywhere
def test_only_explanations_have_places_to_fill(page):
    for language in LANGUAGES:
        text = load(page, language)
        assert not _places(text.claim + "".join(s.body for s in text.sections.values()))
        assert not any(_places(q.text + "".join(q.choices)) for q in text.questions)


@everywhere
def test_chinese_typography(page):
    """Full-width marks after Chinese characters, a space beside Latin letters and digits."""
    source = (TEXT / "zh" / f"{page}.md").read_text(encoding="utf-8")
    assert not re.findall(rf"{HAN}[,;:!?]", source)
    assert not re.findall(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9]{HAN}", source)


def _paragraphs(body: str) -> int:
    return len(re.split(r"\n\s*\n", body))


def _places(text: str) -> set[str]:
    return set(re.findall(r"\[\[(\w+)\]\]", text))


def _structure(question: Question) -> tuple[object, ...]:
    return (
        len(question.choices),
        question.right,
        question.answer,
        question.tolerance,
        question.relative,
        _places(question.explanation),
    )
