"""Sessions that have expired are dropped, memory that nobody uses goes back to the system."""

import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.session_manager import SessionInfo
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from ui import tidy

HELD = """
from ui.tidy import return_memory

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

blocks = [bytearray(100_000) for _ in range(2000)]
full = resident()
last = blocks[-1]  # at the end of the heap: what lies below stays with the process
del blocks
held = resident()
return_memory()
assert held > full - 50_000, (full, held)
assert resident() < full - 150_000, (full, held, resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's kernel and its C library")
def test_freed_memory_is_returned():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("seconds", "left"), [(0, 0), (60, 1)])
def test_sessions_are_dropped_once_they_have_expired(monkeypatch, seconds, left):
    storage = MemorySessionStorage(ttl_seconds=seconds)
    manager = WebsocketSessionManager(storage, Mock(), Mock(), Mock())
    storage.save(SessionInfo(client=None, session=SimpleNamespace(id="gone")))
    monkeypatch.setattr(tidy, "exists", lambda: True)
    monkeypatch.setattr(tidy, "get_instance", lambda: SimpleNamespace(_session_mgr=manager))
    tidy.forget_sessions()
    assert len(storage._cache._data) == left


def test_tidying_goes_on_after_an_error(monkeypatch, caplog):
    rounds = []

    def failing():
        raise RuntimeError("a session that cannot be dropped")

    def sleep(_seconds):
        if len(rounds) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(tidy.time, "sleep", sleep)
    monkeypatch.setattr(tidy, "forget_sessions", failing)
    monkeypatch.setattr(tidy, "forget_uploads", lambda: None)
    monkeypatch.setattr(tidy, "return_memory", lambda: rounds.append("memory"))
    with pytest.raises(KeyboardInterrupt):
        tidy._for_ever()
    assert rounds == ["memory", "memory"]
    assert [str(record.exc_info[1]) for record in caplog.records] == [
        "a session that cannot be dropped"
    ] * 2


@pytest.mark.parametrize("there", [False, True])
def test_without_a_server_there_is_nothing_to_drop(monkeypatch, there):
    monkeypatch.setattr(tidy, "exists", lambda: there)
    monkeypatch.setattr(tidy, "get_instance", lambda: Mock(spec=["is_cached_message_hash"]))
    tidy.forget_sessions()
    tidy.forget_uploads()


def test_uploads_are_dropped_once_they_have_stood_for_a_round(monkeypatch):
    files = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(tidy, "exists", lambda: True)
    monkeypatch.setattr(tidy, "get_instance", lambda: SimpleNamespace(_uploaded_file_mgr=files))

    def upload(name):
        files.add_file("session", UploadedFileRec(name, "photo.jpg", "image/jpeg", b"..."))

    def there():
        return [name for name in "ab" if files.get_files("session", [name])]

    upload("a")
    tidy.forget_uploads()
    upload("b")
    assert there() == ["a", "b"]
    tidy.forget_uploads()
    assert there() == ["b"]
    tidy.forget_uploads()
    assert there() == []
