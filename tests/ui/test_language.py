"""Which language a visitor sees, and that every label is there in it."""

import re
from types import SimpleNamespace

import polib
import pytest

from tools import messages
from ui import address, language

HAN = r"[\u4e00-\u9fff]"
TRANSLATED = [name for name in language.LANGUAGES if name != language.DEFAULT]


def visit(monkeypatch, chosen=None, asked=None, browser=None):
    """Let a visitor come with a choice, a link and a browser; give back the state."""
    state = SimpleNamespace(
        session_state={} if chosen is None else {language._STATE: chosen},
        query_params={} if asked is None else {"lang": asked},
        context=SimpleNamespace(locale=browser),
    )
    for module in (language, address):
        monkeypatch.setattr(module, "st", state)
    return state


@pytest.mark.parametrize(
    ("chosen", "asked", "browser", "seen"),
    [
        ("en", "zh", "zh-CN", "en"),
        ("zh", "en", "en-GB", "zh"),
        (None, "zh", "en-GB", "zh"),
        (None, "en", "zh-CN", "en"),
        (None, None, "zh-CN", "zh"),
        (None, None, "zh", "zh"),
        (None, None, "ZH-Hans-CN", "zh"),
        (None, None, "de-DE", "en"),
        (None, None, None, "en"),
    ],
)
def test_choice_then_link_then_browser_then_english(monkeypatch, chosen, asked, browser, seen):
    visit(monkeypatch, chosen, asked, browser)
    assert language.current() == seen


@pytest.mark.parametrize("asked", ["", "fr", "ZH", "../zh"])
def test_an_unknown_language_in_the_link_is_ignored(monkeypatch, asked):
    visit(monkeypatch, asked=asked, browser="zh-CN")
    assert language.current() == "zh"
    visit(monkeypatch, asked=asked, browser="en-GB")
    assert language.current() == "en"


def test_a_choice_stays_and_goes_into_the_link(monkeypatch):
    state = visit(monkeypatch, asked="en", browser="en-GB")
    language.choose("zh")
    assert language.current() == "zh"
    assert state.query_params == {"lang": "zh"}
    state.query_params.pop("lang")  # a report brings the address from before
    address.say(address.carried())
    assert state.query_params == {"lang": "zh"}


def test_labels_are_shown_in_the_language(monkeypatch):
    visit(monkeypatch, chosen="en")
    assert language.translate("IoU threshold") == "IoU threshold"
    visit(monkeypatch, chosen="zh")
    assert language.translate("IoU threshold") == "IoU 阈值"


def test_a_label_without_translation_is_shown_as_it_is(monkeypatch):
    visit(monkeypatch, chosen="zh")
    assert language.translate("no such label") == "no such label"


@pytest.mark.parametrize("name", TRANSLATED)
def test_every_label_is_translated(name):
    assert messages.faults(messages.read(name), messages.labels()) == []


def test_chinese_typography():
    """Full-width marks after Chinese characters, a space beside Latin letters and digits."""
    for entry in messages.read("zh"):
        assert not re.findall(rf"{HAN}[,;:!?]", entry.msgstr), entry.msgstr
        assert not re.findall(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9]{HAN}", entry.msgstr), entry.msgstr


def test_labels_are_found_where_they_are_shown():
    found = messages.labels()
    assert "ui/shell.py" in found["Home"]
    detector = "explainers/models/ssd_mobilenet_v2.py"
    assert found["Person"] == [detector]
    assert len([label for label, files in found.items() if detector in files]) == 23


def catalogue(*entries: polib.POEntry) -> polib.POFile:
    made = polib.POFile()
    made.extend(entries)
    return made


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (polib.POEntry(msgid="Other", msgstr="其他"), "missing: **{n:,}** boxes"),
        (polib.POEntry(msgid="**{n:,}** boxes"), "missing: **{n:,}** boxes"),
        (polib.POEntry(msgid="**{n:,}** boxes", msgstr="**{n}** 个框", flags=["fuzzy"]), "fuzzy"),
        (polib.POEntry(msgid="**{n:,}** boxes", msgstr="**{m}** 个框"), "other places"),
        (polib.POEntry(msgid="**{n:,}** boxes", msgstr="{n} 个框"), "other places"),
    ],
)
def test_faults_are_named(entry, fault):
    listed = messages.faults(catalogue(entry), {"**{n:,}** boxes": ["app.py"]})
    assert listed[0].startswith(fault)


def test_labels_that_the_code_no_longer_has_are_faults():
    gone = polib.POEntry(msgid="Gone", msgstr="没了")
    commented = polib.POEntry(msgid="Long gone", msgstr="早没了", obsolete=True)
    assert messages.faults(catalogue(gone, commented), {}) == [
        "obsolete: Gone",
        "obsolete: Long gone",
    ]


def test_merging_keeps_translations_and_drops_the_rest():
    old = catalogue(
        polib.POEntry(msgid="Kept", msgstr="留下"), polib.POEntry(msgid="Gone", msgstr="没了")
    )
    merged = messages.merge(old, {"Kept": ["app.py"], "New": ["app.py", "ui/page.py"]}, "zh")
    assert [(entry.msgid, entry.msgstr) for entry in merged] == [("Kept", "留下"), ("New", "")]
    assert not any(entry.fuzzy for entry in merged)
    assert merged.metadata["Language"] == "zh"
