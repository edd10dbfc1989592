"""What visitors leave behind: sessions and uploads are let go, memory goes back to the system."""

import ctypes
import gc
import logging
import threading
import time
from functools import cache

from streamlit.runtime import exists, get_instance

EVERY = 60.0
"""Seconds between two rounds."""

_stood: set[tuple[str, str]] = set()  # uploads that were there in the last round


@cache
def start() -> threading.Thread:
    """Tidy up in the background, for as long as the server runs."""
    thread = threading.Thread(target=_for_ever, name="tidy", daemon=True)
    thread.start()
    return thread


def _for_ever() -> None:
    while True:
        time.sleep(EVERY)
        for tidy_up in (forget_sessions, forget_uploads, return_memory):
            try:
                tidy_up()
            except Exception:
                logging.getLogger(__name__).exception("could not tidy up")


def forget_sessions() -> None:
    """Drop the sessions that have expired, and with them their visitors' photos.

    Streamlit does so by itself only when the next visitor comes or goes.
    """
    # There is no public way. Tests of pages run without a server, or beside one that stands in.
    sessions = getattr(get_instance(), "_session_mgr", None) if exists() else None
    if sessions is not None:
        with sessions._storage_lock:
            sessions._session_storage._cache.expire()


def forget_uploads() -> None:
    """Drop the files that have been there for a whole round: photos are decoded as they come.

    Streamlit keeps every file, also one that nothing shows, for as long as its session lives.
    """
    files = getattr(get_instance(), "_uploaded_file_mgr", None) if exists() else None
    if files is None:
        return
    standing = {
        (session, name) for session, own in list(files.file_storage.items()) for name in list(own)
    }
    for session, name in standing & _stood:
        files.remove_file(session, name)
    _stood.clear()
    _stood.update(standing)


def return_memory() -> None:
    """Hand to the system what is free.

    The C library of Linux keeps it in case it is needed again: 260 MB after fourteen visitors.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
