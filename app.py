"""The front door: navigation, language, theme. Everything else is a page."""

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import net_util

from ui import shell
from ui.live.channel import present_plainly
from ui.news import tell_only_news
from ui.sockets import send_at_once

# An upload is parsed in memory: by default Starlette spools to a file on disk from 1 MB on.
MultiPartParser.spool_max_size = (st.get_option("server.maxUploadSize") + 1) * 2**20

# Whoever connects from another site would make Streamlit ask the internet for its own address,
# and all visitors wait for the answer.
net_util.get_external_ip = lambda: None

send_at_once()
present_plainly()
tell_only_news()
shell.open_page()
