"""Small messages leave at once, also on connections that come later."""

import os
import socket
from pathlib import Path

import pytest

from ui.sockets import send_at_once


def sends_at_once(connection: socket.socket) -> bool:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_connections_send_at_once_whether_they_are_there_or_come_later(family) -> None:
    here = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as server:  # as Streamlit opens its own
        server.bind((here, 0))
        server.listen()
        with socket.create_connection(server.getsockname()[:2]), server.accept()[0] as there:
            assert not sends_at_once(there)
            send_at_once.__wrapped__()
            assert sends_at_once(there)
        with socket.create_connection(server.getsockname()[:2]), server.accept()[0] as later:
            assert sends_at_once(later)


def test_other_sockets_and_files_are_left_alone(tmp_path) -> None:
    one, other = socket.socketpair()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with one, other, datagrams, (tmp_path / "file").open("w") as file:
        send_at_once.__wrapped__()
        one.sendall(b"still open")
        assert other.recv(64) == b"still open"
        file.write("still open")
        assert datagrams.fileno() > 0


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files are not listed")
def test_no_descriptor_is_left_open(tmp_path) -> None:
    def free() -> int:
        """The lowest descriptor that nobody has."""
        descriptor = os.dup(0)
        os.close(descriptor)
        return descriptor

    with socket.socket(), (tmp_path / "file").open("w"):
        before = free()
        send_at_once.__wrapped__()
        assert free() == before


def test_a_system_without_a_list_of_open_files_goes_without(monkeypatch) -> None:
    monkeypatch.setattr("ui.sockets._DESCRIPTORS", Path("/nowhere"))
    send_at_once.__wrapped__()
