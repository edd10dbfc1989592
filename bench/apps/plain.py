"""A bare Streamlit page: its own slider and its own chart."""

import streamlit as st

from bench.apps.curve import FREQUENCIES, START, curve

frequency = st.slider("Frequency", FREQUENCIES[0], FREQUENCIES[-1], START)
st.plotly_chart(curve(frequency))
