"""Create the files of a new concept: `make concept ID=its_name SECTION=layers`.

Every file of tools/concept is copied to the same place in the repository under the concept's name,
its labels join the catalogues, and its line joins ui/catalogue.py. What results is a small page
that works and passes every test: replace its example step by step.
"""

import argparse
import ast
import keyword
import logging
import re
import sys
from pathlib import Path

import polib
from PIL import Image

from tools import messages
from ui.catalogue import sections

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "tools" / "concept"
CATALOGUE = ROOT / "ui" / "catalogue.py"
THUMBNAILS = ROOT / "assets" / "thumbnails"
ICON = ROOT / "assets" / "icon.png"
NAME, TITLE = "concept_id", "Concept title"
STEP, SYMBOL = "brightness", ":material/science:"
LONGEST = 32


def check(concept: str, section: str) -> None:
    """Raise `ValueError` if there can be no such concept."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", concept) or keyword.iskeyword(concept):
        raise ValueError(
            f"ID is {concept!r}: lower-case words joined by underscores are needed, such as dropout"
        )
    if len(concept) > LONGEST:
        raise ValueError(f"ID has {len(concept)} letters, allowed are {LONGEST}")
    if section not in sections():
        raise ValueError(f"SECTION is {section!r}, allowed are {', '.join(sections())}")
    taken = [path for path in copies(concept) if path.exists()]
    if taken:
        raise ValueError(f"{concept} is taken: {taken[0].relative_to(ROOT)} exists")


def copies(concept: str) -> dict[Path, str]:
    """Every file to be written and its text."""
    title = concept.replace("_", " ").capitalize()
    return {
        ROOT / path.relative_to(TEMPLATE).with_name(path.name.replace(NAME, concept)): (
            path.read_text(encoding="utf-8").replace(NAME, concept).replace(TITLE, title)
        )
        for path in sorted(TEMPLATE.rglob(f"*{NAME}*"))
    }


def write(concept: str) -> list[Path]:
    """Write the concept's files, but for its thumbnail."""
    files = copies(concept)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def enter(concept: str, section: str) -> None:
    """Add the concept's line at the end of the catalogue."""
    source = CATALOGUE.read_text(encoding="utf-8")
    listed = next(
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CONCEPTS"
    )
    lines = [ast.get_source_segment(source, entry) for entry in listed.elts]
    lines += [f'Concept("{concept}", "{section}", "{SYMBOL}", thumbnail="{STEP}")']
    entries = "".join(f"    {line},\n" for line in lines)
    changed = source.replace(ast.get_source_segment(source, listed), f"(\n{entries})")
    CATALOGUE.write_text(changed, encoding="utf-8")


def translate() -> None:
    """Take the labels of the example into the catalogue of every language."""
    found = messages.labels()
    for path in sorted(TEMPLATE.rglob("*.po")):
        language = path.relative_to(TEMPLATE / "assets" / "locale").parts[0]
        catalogue = messages.read(language)
        known = {entry.msgid for entry in catalogue}
        catalogue.extend(entry for entry in polib.pofile(str(path)) if entry.msgid not in known)
        messages.merge(catalogue, found, language).save(str(messages.path_of(language)))


def draw_placeholder(concept: str) -> Path:
    """A thumbnail until `make thumbnails` draws the page's own."""
    icon = Image.open(ICON)
    thumbnail = Image.new("RGBA", (640, 400))
    thumbnail.paste(icon, ((640 - icon.width) // 2, (400 - icon.height) // 2))
    path = THUMBNAILS / f"{concept}.png"
    thumbnail.save(path)
    return path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make concept", description="Start a new concept.")
    parser.add_argument("concept", metavar="ID", help="its name in every room")
    parser.add_argument("section", metavar="SECTION", nargs="?", default="layers")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # Streamlit warns whoever asks for a label outside of it
    try:
        check(options.concept, options.section)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    written = [*write(options.concept), draw_placeholder(options.concept)]
    enter(options.concept, options.section)
    translate()
    print(*(path.relative_to(ROOT) for path in written), sep="\n")
    print(f"The page works: make run, then open /{options.concept}. Now replace the example.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
