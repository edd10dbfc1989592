"""How the server's messages leave the machine."""

import os
import socket
import stat
from contextlib import suppress
from functools import cache
from pathlib import Path

_DESCRIPTORS = Path("/dev/fd")


@cache
def send_at_once() -> None:
    """Let this process's connections send small messages at once.

    An answer is a few dozen small messages. By default the kernel holds the second one back until
    the browser has acknowledged the first, which may take it 40 ms. asyncio turns that off only
    for sockets that were opened with the protocol's name, and Streamlit's was not. Connections
    that the server accepts later inherit what is set for its own socket here.
    """
    with suppress(OSError):  # not every system lists the open files there
        for entry in list(_DESCRIPTORS.iterdir()):
            with suppress(OSError):  # closed by now
                _send_at_once(int(entry.name))


def _send_at_once(descriptor: int) -> None:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        if copy.type == socket.SOCK_STREAM and copy.family in (socket.AF_INET, socket.AF_INET6):
            copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
