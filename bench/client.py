"""A visitor without a browser: speaks to the server as Streamlit's page does, and draws nothing.

It keeps what the page would keep: where the widgets are, what they stand at, the address, and
which messages the server need not send again. As with live sliders, one change is in flight at
a time.
"""

import asyncio
import io
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from PIL import Image, ImageChops, ImageStat
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.BidiComponent_pb2 import BidiComponent
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg, RunIdentity
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

PATIENCE = 10.0
"""Seconds after which an answer counts as lost."""

_JPEG = b"\xff\xd8\xff"
_PACKED = ("live.figure", "live.stage", "live.resource")
_PAINTED = ("attention_maps.places.hidden", "attention_maps.depth.colours")  # not the photo
_SIZE = (640, 480)
_LEVELS = 8  # of red and of green: so many colours, squared, tell visitors apart
_TOLERANCE = 8
_BOUNDARY = "a-photo-ends-here"


@dataclass(frozen=True)
class Control:
    """A slider or a select box: its widget, its fragment, and its positions or options.

    A live slider has a revision; the numbers of Streamlit's own are its options. `run` is the one
    of which the page was told last when it was drawn.
    """

    run: str
    widget: str
    fragment: str
    options: list[str] | range
    revision: int | None = None

    @property
    def slides(self) -> bool:
        return self.revision is not None or isinstance(self.options, range)


class Client:
    """One visitor on one page.

    Args:
        address: of the app, such as http://127.0.0.1:8501.
        page: the concept's id; nothing for the page of an app that has but one.
        number: tells visitors apart, below 64; it is written into the colour of the photo.
    """

    def __init__(self, address: str, page: str, number: int) -> None:
        self.page = page
        self.controls: dict[str, Control] = {}
        self.errors: list[str] = []
        self.photos = self.foreign_photos = 0
        self._address, self.number = address, number
        self._uploads = 0
        self._random = random.Random(number)
        self._serial = int(time.time() * 1000)
        self._widgets: dict[str, WidgetState] = {}
        self._fragments: dict[str, str] = {}  # of buttons and uploaders, by the widget's id
        self.cached: dict[tuple[int, ...], str] = {}
        self.query = self._script = self._session = self._run = ""
        self._awaited: tuple[str, int] | None = None
        self.first_step = math.inf  # when one toolbar had come, unless all stay the same
        self._finished = asyncio.Event()
        self._urls: asyncio.Future | None = None

    async def __aenter__(self) -> Self:
        stream = self._address.replace("http", "ws", 1) + "/_stcore/stream"
        self._socket: ClientConnection = await connect(
            stream, subprotocols=["streamlit"], max_size=None
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._socket.close()
        await self._listening

    # ------------------------------------------------------------------ what a visitor does

    async def open(self, patience: float = PATIENCE) -> None:
        """Load the page."""
        await self._ask(ClientState(page_name=self.page), patience)

    async def change(self, topic: str) -> None:
        """Move the slider, or choose another option, at random; wait for the answer."""
        control = self.controls[topic]
        place = self._random.randrange(len(control.options))
        state = WidgetState(id=control.widget)
        if isinstance(control.options, range):
            state.double_array_value.data.append(control.options[place])
        elif not control.slides:
            state.string_value = control.options[place]
        else:
            self._serial += 1
            self._awaited = (topic, self._serial)
            sent = {"index": place, "done": True, "revision": control.revision}
            state.json_value = json.dumps({"sent": {**sent, "serial": self._serial}})
        self._widgets[control.widget] = state
        await self._ask(self._state(control.fragment))

    async def open_chooser(self) -> None:
        """Click on "Change photo"."""
        (button,) = [id for id in self._fragments if id.endswith(".photo")]
        pressed = WidgetState(id=button, trigger_value=True)
        await self._ask(self._state(self._fragments[button], pressed))

    async def upload(self) -> None:
        """Upload a photo of this visitor's own colour to the open chooser."""
        self._uploads += 1
        uploaders = [id for id in self._fragments if "-photo_file_" in id]
        if not uploaders:
            raise TimeoutError("the chooser has not come")
        uploader = uploaders[-1]
        picture = photo(self._colour())
        urls = await self._upload(picture)
        state = WidgetState(id=uploader)
        info = state.file_uploader_state_value.uploaded_file_info.add(
            name="photo.jpg", size=len(picture), file_id=urls.file_id
        )
        info.file_urls.CopyFrom(urls)
        await self._ask(self._state(self._fragments[uploader], state))

    # ------------------------------------------------------------------ to the server

    async def _ask(self, state: ClientState, patience: float = PATIENCE) -> None:
        """Send what the page would send and wait until the server has answered all of it.

        Raises:
            TimeoutError: after `patience` seconds.
        """
        state.context_info.timezone = "UTC"
        state.context_info.locale = "en"
        state.context_info.url = f"{self._address}/{self.page}"
        self._finished.clear()
        self.first_step = math.inf
        await self._socket.send(BackMsg(rerun_script=state).SerializeToString())
        try:
            await asyncio.wait_for(self._finished.wait(), patience)
        finally:
            self._awaited = None

    def _state(self, fragment: str, *more: WidgetState) -> ClientState:
        state = ClientState(
            query_string=self.query,
            page_script_hash=self._script,
            fragment_id=fragment,
            cached_message_hashes=set(self.cached.values()),
        )
        drawn = [self._widgets.get(control.widget) for control in self.controls.values()]
        state.widget_states.widgets.extend([*filter(None, drawn), *more])
        return state

    async def _upload(self, picture: bytes) -> object:
        message = BackMsg()
        message.file_urls_request.request_id = str(self._uploads)
        message.file_urls_request.session_id = self._session
        message.file_urls_request.file_names.append("photo.jpg")
        self._urls = asyncio.get_running_loop().create_future()
        await self._socket.send(message.SerializeToString())
        urls = (await asyncio.wait_for(self._urls, PATIENCE)).file_urls[0]
        await asyncio.to_thread(self._put, urls.upload_url, picture)
        return urls

    def _put(self, path: str, picture: bytes) -> None:
        with urlopen(f"{self._address}/_stcore/health", timeout=PATIENCE) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        head = (
            f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name=file; filename=photo.jpg\r\n"
            "Content-Type: image/jpeg\r\n\r\n"
        )
        headers = {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Cookie": cookie,
            "X-Xsrftoken": cookie.partition("=")[2],
        }
        body = head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()
        request = Request(self._address + urlsplit(path).path, body, headers, method="PUT")
        urlopen(request, timeout=PATIENCE).close()

    # ------------------------------------------------------------------ from the server

    async def _listen(self) -> None:
        async for payload in self._socket:
            message = ForwardMsg()
            message.ParseFromString(payload)
            take = self._TAKEN.get(message.WhichOneof("type"))
            if take:
                take(self, message)

    def _take_session(self, message: ForwardMsg) -> None:
        self._session = message.new_session.initialize.session_id
        self._run = message.metadata.run.script_run_id

    def _take_navigation(self, message: ForwardMsg) -> None:
        self._script = message.navigation.page_script_hash

    def _take_finish(self, message: ForwardMsg) -> None:
        another_run_follows = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        if not another_run_follows:
            self._remove_what_was_left_out(message.metadata.run)
            if self._awaited is None:
                self._finished.set()

    def _remove_what_was_left_out(self, run: RunIdentity) -> None:
        """As the browser does; a run without identity has left out nothing."""
        redrawn = set(run.fragment_ids)
        self.controls = {
            key: control
            for key, control in self.controls.items()
            if not run.script_run_id
            or control.run == run.script_run_id
            or (redrawn and control.fragment not in redrawn)
        }

    def _take_query(self, message: ForwardMsg) -> None:
        self.query = message.page_info_changed.query_string

    def _take_urls(self, message: ForwardMsg) -> None:
        if self._urls and not self._urls.done():
            self._urls.set_result(message.file_urls_response)

    def _take_failure(self, message: ForwardMsg) -> None:
        if message.session_event.HasField("script_compilation_exception"):
            self.errors.append(message.session_event.script_compilation_exception.message)

    def _take_reference(self, message: ForwardMsg) -> None:
        self.cached[tuple(message.metadata.delta_path)] = message.ref_hash

    def _take_delta(self, message: ForwardMsg) -> None:
        if message.metadata.cacheable:
            self.cached[tuple(message.metadata.delta_path)] = message.hash
        delta, element = message.delta, message.delta.new_element
        fragment = delta.fragment_id
        kind = element.WhichOneof("type")
        if kind == "bidi_component":
            self._take_piece(fragment, element.bidi_component)
        elif kind == "selectbox":
            box = element.selectbox
            options = list(box.options)
            self.controls[_key(box.id)] = Control(self._run, box.id, fragment, options)
        elif kind == "slider":
            slider = element.slider
            numbers = range(int(slider.min), int(slider.max) + 1)
            self.controls[slider.label] = Control(self._run, slider.id, fragment, numbers)
        elif kind in ("button", "file_uploader"):
            self._fragments[getattr(element, kind).id] = fragment
        elif kind == "exception":
            self.errors.append(f"{element.exception.type}: {element.exception.message}")
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.errors.append(element.alert.body)

    def _take_piece(self, fragment: str, piece: BidiComponent) -> None:
        if piece.component_name in _PACKED:
            if not any(stage in piece.id for stage in _PAINTED):
                self._check_photo(piece.bytes)
        elif piece.component_name == "live.slider":
            data = json.loads(piece.bytes)
            self.controls[data["topic"]] = Control(
                self._run, piece.id, fragment, data["texts"], data["revision"]
            )
        elif piece.component_name == "live.toolbar":
            self.first_step = min(self.first_step, time.perf_counter())
            topic, serial = self._awaited or ("", 0)
            if json.loads(piece.bytes)["acks"].get(topic, -1) >= serial:
                self._awaited = None

    _TAKEN: ClassVar[dict[str, Callable[["Client", ForwardMsg], None]]] = {
        "new_session": _take_session,
        "navigation": _take_navigation,
        "script_finished": _take_finish,
        "page_info_changed": _take_query,
        "file_urls_response": _take_urls,
        "session_event": _take_failure,
        "ref_hash": _take_reference,
        "delta": _take_delta,
    }

    # ------------------------------------------------------------------ whose photo

    def _colour(self) -> tuple[int, int, int]:
        """Red and green say who it is, blue says which of the visitor's uploads."""
        steps = self.number % _LEVELS, self.number // _LEVELS, self._uploads % _LEVELS
        return tuple(40 + 25 * step for step in steps)

    def _check_photo(self, content: bytes) -> None:
        """Whether a photo that arrives is the visitor's own, once there is one."""
        jpeg = packed_jpeg(content) if self._uploads else None
        if jpeg is None:
            return
        picture = Image.open(io.BytesIO(jpeg))
        picture.draft("RGB", (80, 80))
        found = ImageStat.Stat(picture).mean
        who = zip(found[:2], self._colour()[:2], strict=True)
        own = all(abs(seen - sent) <= _TOLERANCE for seen, sent in who)
        self.photos += own
        self.foreign_photos += not own


def packed_jpeg(content: bytes) -> bytes | None:
    """The photo among the arrays that a live piece receives; `ui.live.channel` packs them."""
    begin = 4 + int.from_bytes(content[:4], "little")
    for place in json.loads(content[4:begin])["arrays"].values():
        start = begin + place.get("offset", 0)
        if "offset" in place and content.startswith(_JPEG, start):
            return content[start:]
    return None


def photo(colour: tuple[int, int, int]) -> bytes:
    """A grainy JPEG, as large as a real one, that has this colour on average."""
    grain = Image.effect_noise(_SIZE, 25).convert("RGB")  # 128 on average
    picture = ImageChops.add(Image.new("RGB", _SIZE, colour), grain, offset=-128)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def _key(widget: str) -> str:
    """The key of a widget, which its id ends with."""
    return widget.split("-", 2)[2]
