"""Collect the labels that the code translates into the catalogue of every language.

`python -m tools.messages` brings the catalogues up to date: translations stay, new labels come
in empty, labels that the code no longer has go. `--check` changes nothing and fails if a catalogue
is not complete.

Labels are read from the syntax tree: Babel's extractor overlooks calls inside an f-string on
Python 3.11, and takes the key in `_(names["key"])` for a label.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import polib

from ui.language import DEFAULT, LANGUAGES, LOCALE

ROOT = Path(__file__).parent.parent
ROOMS = ("app.py", "pages", "ui", "figures")
CLASS_NAMES = {
    "explainers/models/ssd_mobilenet_v2.py": "LABELS",
    "explainers/fashion_mnist.py": "CLASSES",
}
FUNCTIONS = ("_", "translate")

Labels = dict[str, list[str]]


def labels() -> Labels:
    """Every label of the code, with the files that show it."""
    found: Labels = {}
    for path, label in (*_called(), *_class_names()):
        files = found.setdefault(label, [])
        if path not in files:
            files.append(path)
    return found


def merge(old: polib.POFile, found: Labels, language: str) -> polib.POFile:
    """A catalogue of exactly the labels found, with the translations that there were."""
    known = {entry.msgid: entry.msgstr for entry in old if not entry.obsolete}
    new = polib.POFile(wrapwidth=0)
    new.metadata = {
        "Language": language,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
    }
    for label, files in found.items():
        occurrences = [(file, "") for file in files]
        new.append(polib.POEntry(msgid=label, msgstr=known.get(label, ""), occurrences=occurrences))
    return new


def faults(catalogue: polib.POFile, found: Labels) -> list[str]:
    """What keeps a catalogue from being complete, a line for each fault."""
    entries = {entry.msgid: entry for entry in catalogue if not entry.obsolete}
    listed = [f"missing: {label}" for label in found if label not in entries]
    for label, entry in entries.items():
        if label not in found:
            listed.append(f"obsolete: {label}")
        elif not entry.msgstr:
            listed.append(f"missing: {label}")
        elif entry.fuzzy:
            listed.append(f"fuzzy: {label}")
        elif _shape(label) != _shape(entry.msgstr):
            listed.append(f"other places or marks: {label} -> {entry.msgstr}")
    return listed + [f"obsolete: {entry.msgid}" for entry in catalogue.obsolete_entries()]


def path_of(language: str) -> Path:
    """Where a language's catalogue lies."""
    return LOCALE / language / "LC_MESSAGES" / "messages.po"


def read(language: str) -> polib.POFile:
    """A language's catalogue; an empty one if there is none."""
    path = path_of(language)
    return polib.pofile(str(path)) if path.exists() else polib.POFile()


def _called() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        path = ROOT / room
        for file in sorted(path.rglob("*.py")) or [path]:
            calls = [n for n in ast.walk(_tree(file)) if isinstance(n, ast.Call) and _is_label(n)]
            for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
                yield file.relative_to(ROOT).as_posix(), call.args[0].value


def _is_label(call: ast.Call) -> bool:
    named = isinstance(call.func, ast.Name) and call.func.id in FUNCTIONS
    literal = call.args and isinstance(call.args[0], ast.Constant)
    return bool(named and literal and isinstance(call.args[0].value, str))


def _class_names() -> Iterator[tuple[str, str]]:
    """Names of classes, shown by `_(LABELS[k])`; read without importing torch."""
    for file, name in CLASS_NAMES.items():
        for node in _tree(ROOT / file).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
                for label in ast.literal_eval(node.value):
                    yield file, label


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _shape(text: str) -> tuple[set[str], int]:
    """The places to fill and the number of bold marks: the same in every language."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}, text.count("**")


def main(arguments: list[str]) -> int:
    """Update or check every catalogue; the exit status is that of `--check`."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.messages [--check]", file=sys.stderr)
        return 2
    found = labels()
    complete = True
    for language in LANGUAGES:
        if language == DEFAULT:
            continue
        catalogue = read(language)
        if not arguments:
            catalogue = merge(catalogue, found, language)
            path_of(language).parent.mkdir(parents=True, exist_ok=True)
            catalogue.save(str(path_of(language)))
        listed = faults(catalogue, found)
        complete = complete and not listed
        print(f"{language}: {len(found)} labels, {len(listed)} faults", *listed, sep="\n  ")
    return 0 if complete or not arguments else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
