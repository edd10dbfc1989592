"""Prose of a page: `assets/text/<language>/<id>.md`.

The file starts with the title as a heading and the claim as a quotation. Every `## name: Title`
starts a section; the sections `questions` and `sources` belong to the end of the page. A line
`! ` in a section is its sentence with live numbers, its places written as in `str.format`.

A question is `### ` and its text, then either choices

    - [ ] wrong
    - [x] right

or `= name ±tolerance`, the name of a number on screen and what counts as equal to it (`±2%`,
`±0.01`), then the explanation as a quotation. `[[name]]` stands for a number on screen.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).parent.parent / "assets" / "text"
_SECTION = re.compile(r"^## (\w+)(?:: (.+))?$", re.MULTILINE)
_ANSWER = re.compile(r"^= (\w+)(?: ±([\d.]+)(%?))?$", re.MULTILINE)
_CHOICE = re.compile(r"^- \[([ x])\] (.+)$", re.MULTILINE)
_SAYS = re.compile(r"^! (.+)$", re.MULTILINE)
_PLACE = re.compile(r"\[\[(\w+)\]\]")


@dataclass(frozen=True)
class Section:
    """A part of the page: its title, empty for a nameless one, its Markdown, its live sentence."""

    title: str
    body: str
    says: str = ""


@dataclass(frozen=True)
class Question:
    """One question: choices with the index of the right one, or the name of a number on screen."""

    text: str
    explanation: str
    choices: tuple[str, ...] = ()
    right: int = -1
    answer: str = ""
    tolerance: float = 0.0
    relative: bool = False

    def accepts(self, given: float, wanted: float) -> bool:
        """Whether a number is near enough to the one on screen."""
        allowed = self.tolerance * abs(wanted) if self.relative else self.tolerance
        return abs(given - wanted) <= allowed + 1e-9


@dataclass(frozen=True)
class Text:
    """All prose of one page in one language."""

    title: str
    claim: str
    sections: Mapping[str, Section]
    questions: tuple[Question, ...]


@functools.cache
def load(page: str, language: str) -> Text:
    """Read a page's prose."""
    return parse((TEXT / language / f"{page}.md").read_text(encoding="utf-8"))


def parse(source: str) -> Text:
    r"""Parse the format above.

    >>> text = parse("# Title\n> Claim.\n\n## one: Step\nProse.\n! {n} boxes.")
    >>> text.title, text.claim, text.sections["one"]
    ('Title', 'Claim.', Section(title='Step', body='Prose.', says='{n} boxes.'))
    """
    head, *rest = _SECTION.split(source)
    title = re.search(r"^# (.+)$", head, re.MULTILINE)
    if not title:
        raise ValueError("a text must start with '# title'")
    claim = " ".join(re.findall(r"^> (.+)$", head, re.MULTILINE))
    sections = {
        name: Section(heading or "", _SAYS.sub("", body).strip(), "".join(_SAYS.findall(body)))
        for name, heading, body in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    }
    questions = sections.pop("questions", Section("", "")).body
    return Text(title[1], claim, sections, tuple(map(_question, _split(questions))))


def fill(text: str, numbers: Mapping[str, object]) -> str:
    """Put numbers in their places; one that is not on screen yet shows as an ellipsis.

    >>> fill("[[n]] anchors, [[m]] positive", {"n": 9})
    '9 anchors, … positive'
    """
    return _PLACE.sub(lambda place: str(numbers.get(place[1], "…")), text)


def _split(body: str) -> list[str]:
    return [part.strip() for part in re.split(r"^### ", body, flags=re.MULTILINE) if part.strip()]


def _question(source: str) -> Question:
    explanation = " ".join(re.findall(r"^> (.+)$", source, re.MULTILINE))
    choices = _CHOICE.findall(source)
    answer = _ANSWER.search(source)
    first = min(match.start() for match in (_CHOICE.search(source), answer) if match)
    text = source[:first].strip()
    if answer:
        name, tolerance, percent = answer.groups()
        size = float(tolerance or 0) / (100 if percent else 1)
        return Question(text, explanation, (), -1, name, size, bool(percent))
    marks = [mark for mark, _ in choices]
    return Question(text, explanation, tuple(t for _, t in choices), marks.index("x"))
