"""Boxes that the visitor draws on a stage: in the session, in the URL, replaced by a preset."""

import re
from collections.abc import Sequence

import streamlit as st

from figures.stage import MOST_BOXES
from ui.live.stage import stage_event
from ui.photo import Photo

Box = Sequence[float]

_STATE = "drawn.state"
_CORNERS = "drawn.corners"
_LONGEST = 4000  # characters of a link's boxes: as many as can be drawn take fewer
_BOX = re.compile(r"(\d{1,5})\.(\d{1,5})\.(\d{1,5})\.(\d{1,5})", re.ASCII)


class DrawnBoxes:
    """Boxes drawn on one photo.

    Attributes:
        corners: the boxes now, whole pixels.
        revision: for `stage`; it changes when Python replaces the boxes.
        key: their name in the URL.
    """

    def __init__(
        self,
        name: str,
        query: str,
        stage: str,
        photo: Photo,
        default: Sequence[Box],
    ) -> None:
        self.key = query
        self._photo = photo
        self._default = _whole(default)
        states = st.session_state.setdefault(_STATE, {})
        self._state = states.setdefault(f"{name}@{photo.digest}", {"base": None, "count": 0})
        if self._state["base"] is None:
            asked = self._asked()
            self._state["base"] = self._default if asked is None else asked
        event = stage_event(
            stage, (photo.width, photo.height), boxes=self._state["base"], revision=self.revision
        )
        self.corners = _whole(event.boxes or [])
        st.session_state.setdefault(_CORNERS, {})[name] = self.corners

    @property
    def revision(self) -> int:
        """Changes when Python sets the boxes; for `stage`."""
        return int(self._photo.digest[:8], 16) * 1000 + self._state["count"]

    def set(self, boxes: Sequence[Box]) -> None:
        """Replace the boxes, in the callback of a button."""
        self._state["base"] = _whole(boxes)
        self._state["count"] += 1

    def _asked(self) -> list[Box] | None:
        """The link's boxes on this photo, perhaps none at all; None if it says nothing of them."""
        asked = st.query_params.get(self.key, "")
        digest, dash, text = asked.partition("-")
        if digest != self._photo.digest[:6] or not dash or len(asked) > _LONGEST:
            return None
        found = [_BOX.fullmatch(part) for part in text.split("_")]
        boxes = [tuple(map(int, match.groups())) for match in found if match]
        boxes = [box for box in boxes if self._holds(box)][:MOST_BOXES]
        return boxes if boxes or not text else None

    def _holds(self, box: Box) -> bool:
        x1, y1, x2, y2 = box
        return x1 < x2 <= self._photo.width and y1 < y2 <= self._photo.height

    @property
    def address(self) -> str | None:
        """What the address says of the boxes: nothing of the default."""
        if self.corners == self._default:
            return None
        text = "_".join(".".join(map(str, box)) for box in self.corners)
        return f"{self._photo.digest[:6]}-{text}"


def _whole(boxes: Sequence[Box]) -> list[Box]:
    """The boxes in whole pixels, without those that are less than a pixel wide or high."""
    rounded = [tuple(round(float(n)) for n in box) for box in boxes]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in rounded if x1 < x2 and y1 < y2]


def corners(name: str) -> list[Box]:
    """The boxes of a `DrawnBoxes` that was made before in this session."""
    return st.session_state[_CORNERS][name]
