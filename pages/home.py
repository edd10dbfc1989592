"""The home page: what this is, the visitor's photo, the gallery, the learning path."""

from pathlib import Path

import streamlit as st

from ui import catalogue, chooser, language, shell, text
from ui.language import translate as _

THUMBNAILS = Path(__file__).parent.parent / "assets" / "thumbnails"

words = text.load("home", language.current())
sections = catalogue.sections()


def rows_of(concepts, count):
    """Rows of so many; where columns stand one below the other, the order stays."""
    return [concepts[at : at + count] for at in range(0, len(concepts), count)]


def open_link(concept, label):
    """A link to a concept's page that carries language and photo along."""
    page = st.session_state["concept_pages"][concept.id]
    st.page_link(page, label=label, icon=":material/arrow_forward:", query_params=shell.link())


with st.container(key="hero"):
    hero, picture = st.columns([1.1, 1], gap="large", vertical_alignment="center")
with hero:
    st.title(words.title, anchor=False)
    st.markdown(f"#### {words.claim}")
    st.markdown(words.sections["about"].body)
    chooser.button("home.photo")
with picture:
    photo = chooser.current()
    title = chooser.title(photo)
    st.image(photo.jpeg(), width="stretch", caption=title, alt=title)
chooser.notice()

st.subheader(_("Concepts"), anchor="concepts")
for row in rows_of(catalogue.CONCEPTS, 3):
    for column, concept in zip(st.columns(3, gap="large"), row, strict=False):
        card = text.load(concept.id, language.current())
        with column:
            st.image(next(THUMBNAILS.glob(f"{concept.id}.*")), width="stretch", alt="")
            st.caption(sections[concept.section])
            open_link(concept, f"**{card.title}**")
            st.markdown(card.claim)

st.subheader(words.sections["path"].title, anchor="path")
st.markdown(words.sections["path"].body)
for number, concept in enumerate(catalogue.CONCEPTS, start=1):
    card = text.load(concept.id, language.current())
    open_link(concept, f"{number}. {card.title}")
    asked = [question.text for question in card.questions if question.choices][:3]
    st.markdown("\n".join(f"- {question}" for question in asked))
