"""The home page: what this is, the visitor's photo, the gallery, the learning path."""

from pathlib import Path

import streamlit as st

from ui import catalogue, chooser, language, shell, text
from ui.language import translate as _

THUMBNAILS = Path(__file__).parent.parent / "assets" / "thumbnails"

words = text.load("home", language.current())
hero, picture = st.columns([1.2, 1], gap="large", vertical_alignment="center")
with hero:
    st.title(words.title, anchor=False)
    st.markdown(words.claim)
    st.markdown(words.sections["about"].body)
    chooser.button("home.photo")
with picture:
    photo = chooser.current()
    st.image(photo.jpeg(), width="stretch", caption=chooser.title(photo))
chooser.notice()

st.subheader(_("Concepts"), anchor="concepts")
names = catalogue.sections()
columns = st.columns(3, gap="large")
for place, concept in enumerate(catalogue.CONCEPTS):
    card = text.load(concept.id, language.current())
    with columns[place % 3]:
        st.image(THUMBNAILS / f"{concept.id}.webp", width="stretch")
        st.caption(names[concept.section])
        st.page_link(
            st.session_state["concept_pages"][concept.id],
            label=f"**{card.title}**",
            query_params=shell.link(),
        )
        st.markdown(card.claim)

st.subheader(words.sections["path"].title, anchor="path")
st.markdown(words.sections["path"].body)
