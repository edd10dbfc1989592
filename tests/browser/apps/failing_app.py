"""An app whose page fails, under this project's settings."""

import streamlit as st

if st.runtime.exists():  # not where the tests are collected
    raise RuntimeError("a secret")
