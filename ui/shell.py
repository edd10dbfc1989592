"""What surrounds every page: navigation from the catalogue, the language switch, warming up."""

import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from ui import catalogue, language, text, tidy
from ui.chooser import link_name
from ui.language import translate as _
from ui.live.channel import component
from ui.run import warm_up

ICON = Path(__file__).parents[1] / "assets" / "icon.png"


def open_page() -> None:
    """Draw the frame and run the page that the address names."""
    home = st.Page("pages/home.py", title=_("Home"), default=True)
    concepts = {
        c.id: st.Page(f"pages/{c.id}.py", title=_title(c.id), url_path=c.id)
        for c in catalogue.CONCEPTS
    }
    page = st.navigation([home, *concepts.values()], position="hidden")
    name = _("See deep vision at work")
    title = name if page is home else f"{page.title} · {name}"
    st.set_page_config(page_title=title, page_icon=ICON, layout="wide")
    with st.sidebar:
        _navigation(home, concepts)
        _language()
    st.session_state["concept_pages"] = concepts
    if page is not home and "torch" not in sys.modules:
        with st.spinner(_("Starting PyTorch …")):
            warm_up().join()
    page.run()
    warm_up()
    tidy.start()


def enter() -> None:
    """Send a page that runs by itself through the front door.

    Until app.py has run once on a server, Streamlit takes the files in pages/ for pages of its own:
    the server's first visitor, coming by a link to a concept, would see it without its frame.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


def link(query: dict[str, str] | None = None) -> dict[str, str]:
    """What every link inside the app carries on: language and photo."""
    return {"lang": language.current(), "photo": link_name(), **(query or {})}


def _title(concept: str) -> str:
    return text.load(concept, language.current()).title


def _navigation(home, concepts) -> None:
    st.page_link(home, label=_("Home"), icon=":material/home:", query_params=link())
    names = catalogue.sections()
    for section, listed in catalogue.by_section().items():
        st.caption(names[section])
        for concept in listed:
            st.page_link(
                concepts[concept.id],
                label=_title(concept.id),
                icon=concept.icon,
                query_params=link(),
            )


def _language() -> None:
    st.segmented_control(
        _("Language"),
        list(language.LANGUAGES),
        format_func=language.LANGUAGES.get,
        default=language.current(),
        key="language_switch",
        label_visibility="collapsed",
        on_change=_switch,
    )
    component("language")(data={"language": language.current()}, key="language_of_page")


def _switch() -> None:
    language.choose(st.session_state["language_switch"] or language.current())
