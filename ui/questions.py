"""Check yourself: a page's questions, answered by what is on screen."""

from collections import ChainMap
from collections.abc import Mapping, Sequence

import streamlit as st

from figures.words import readable
from ui import text
from ui.language import translate as _


@st.fragment
def ask(
    page: str, questions: Sequence[text.Question], facts: Mapping[str, Mapping[str, float]]
) -> None:
    """Draw the questions of a page; `facts` are each step's numbers, looked up when checked."""
    st.subheader(_("Check yourself"), anchor="questions")
    st.caption(
        _("Questions with a number ask for the one on screen right now: read it or work it out.")
    )
    for number, question in enumerate(questions):
        key = f"{page}.question.{number}"
        with st.container(gap="small"):
            st.markdown(f"**{number + 1}.** {question.text}")
            if question.choices:
                _choice_question(key, question)
            else:
                _number_question(ChainMap(*facts.values()), key, question)


def _choice_question(key: str, question: text.Question) -> None:
    picked = st.radio(
        question.text,
        range(len(question.choices)),
        format_func=question.choices.__getitem__,
        index=None,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    if picked is not None:
        _verdict(picked == question.right, question.explanation)


def _number_question(facts: Mapping[str, float], key: str, question: text.Question) -> None:
    given = st.number_input(
        question.text,
        value=None,
        key=key,
        label_visibility="collapsed",
        width=220,
        format="%g",
        placeholder=_("Your answer"),
        persist_state="session",
    )
    if given is None:
        return
    wanted = facts.get(question.answer)
    if wanted is None:
        st.info(_("This number is not on screen now: look at the step above first."))
        return
    numbers = {name: _plain(value) for name, value in facts.items()}
    _verdict(question.accepts(given, wanted), text.fill(question.explanation, numbers))


def _verdict(right: bool, explanation: str) -> None:
    if right:
        st.success(f"{_('Right.')} {explanation}", icon=":material/check_circle:")
    else:
        st.error(_("Not yet. Try again, or look at the figure."), icon=":material/cancel:")
        with st.popover(_("Show the answer")):
            st.markdown(explanation)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else readable(value)
