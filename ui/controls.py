"""The controls of a step: widgets that live in the session and in the URL."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from ui.address import carried, say, unless_default
from ui.drawn import Box, DrawnBoxes
from ui.language import translate as _
from ui.live.bars import bars_serial, bars_values, live_bars, set_bars
from ui.live.bars import written as written_bars
from ui.live.slider import live_slider, move, released_value, serial, slider_value
from ui.table import Format, editable_table

_CHOICES = "controls.choices"
_SAID = "controls.said"
_DEFAULTS = "controls.defaults"
_FOLLOWERS = "controls.followers"
_LONGEST = 1000


def value(topic: str) -> Any:
    """What a control stands at that was drawn before in this session."""
    choices = st.session_state.get(_CHOICES, {})
    if topic in choices:
        return choices[topic]
    return bars_values(topic) or slider_value(topic)


def follow(topic: str, step: str) -> None:
    """Remember that a step uses a control: it reruns when that is let go."""
    st.session_state.setdefault(_FOLLOWERS, {}).setdefault(topic, {})[step] = None


class Controls:
    """The controls of one step.

    Args:
        page: the page's id; a control's full key is `page.key`.
        name: the step's name.
        place: where to draw.
    """

    def __init__(self, page: str, name: str, place: Any) -> None:
        self.id = f"{page}.{name}"
        self._page = page
        self._name = name
        self._place = place
        self._answered: dict[str, int] = {}
        self._defaults = st.session_state.setdefault(_DEFAULTS, {}).setdefault(self.id, {})
        self._said = st.session_state.setdefault(_SAID, {}).setdefault(page, {})

    def acknowledgements(self) -> dict[str, int]:
        """For each live control the number of its last report that has been answered."""
        return dict(self._answered)

    def live_slider(
        self, label: str, values: Sequence[Any], value: Any, *, key: str, **options: Any
    ) -> Any:
        """A live slider, bound to `?key=` in the URL. See `ui.live.slider`."""
        topic = self.topic(key)
        self._defaults[key] = value
        strings = {
            "back": _("Back"),
            "play": _("Play"),
            "pause": _("Pause"),
            "forward": _("Forward"),
        }

        def told() -> str | None:
            return unless_default(released_value(topic), value)

        with self._place:
            chosen = live_slider(
                label,
                values,
                value,
                key=topic,
                query=key,
                acknowledge=False,
                strings=strings,
                on_release=partial(self._release, key, told),
                **options,
            )
        self._answered[topic] = serial(topic)
        self._said[key] = told()
        return chosen

    def live_bars(
        self,
        label: str,
        names: Sequence[str],
        default: Sequence[float],
        *,
        key: str,
        **options: Any,
    ) -> list[float]:
        """A row of numbers, one bar for each name, bound to `?key=`. See `ui.live.bars`."""
        topic = self.topic(key)
        self._defaults[key] = list(default)

        def told() -> str | None:
            values = bars_values(topic)
            return None if values == list(default) else written_bars(values)

        with self._place:
            release = partial(self._release, key, told)
            values = live_bars(
                label, names, default, key=topic, query=key, on_release=release, **options
            )
        self._answered[topic] = bars_serial(topic)
        self._said[key] = told()
        return values

    def choice(
        self, label: str, options: Mapping[str, str], default: str, *, key: str, wide: bool = False
    ) -> str:
        """One of a few named options, by their stable names in the URL and labels on the page."""
        widget = st.selectbox if wide else partial(st.segmented_control, wrap=True)
        chosen = self._kept(key, default, lambda asked: asked if asked in options else default)
        name = self.topic(key)
        self._defaults[key] = default
        if st.session_state.get(name) not in options:
            st.session_state[name] = chosen
        with self._place:
            picked = widget(
                label,
                list(options),
                format_func=options.__getitem__,
                key=name,
                persist_state="session",
                on_change=self._choose,
                args=(key, frozenset(options)),
            )
        return picked if picked in options else chosen

    def several(
        self, label: str, options: Mapping[str, str], default: Sequence[str], *, key: str
    ) -> list[str]:
        """Some of a few named options, at least one, in their order; `?key=one,two` in the URL."""

        def among(names: Sequence[str]) -> list[str]:
            return [option for option in options if option in names]

        def read(asked: str) -> list[str]:
            return among(asked.split(",")) or list(default)

        chosen = among(self._kept(key, list(default), read, longest=_LONGEST))
        name = self.topic(key)
        self._defaults[key] = list(default)
        self._said[key] = unless_default(chosen, among(default))
        st.session_state.setdefault(name, chosen)
        with self._place:
            picked = st.pills(
                label,
                list(options),
                selection_mode="multi",
                wrap=True,
                format_func=options.__getitem__,
                key=name,
                persist_state="session",
                on_change=self._choose,
                args=(key,),
            )
        return among(picked) or chosen

    def number(
        self, label: str, value: int, low: int, high: int, *, key: str, help: str = ""
    ) -> int:
        """A whole number that matters little enough not to be live, such as a seed."""

        def read(asked: str) -> int:
            try:
                number = int(asked)
            except ValueError:
                return value
            return number if low <= number <= high else value

        chosen = self._kept(key, value, read)
        name = self.topic(key)
        self._defaults[key] = value
        st.session_state.setdefault(name, chosen)
        with self._place:
            return st.number_input(
                label,
                low,
                high,
                key=name,
                help=help or None,
                persist_state="session",
                on_change=self._choose,
                args=(key,),
            )

    def switch(self, label: str, default: bool, *, key: str, help: str = "") -> bool:
        """An on/off switch, `?key=1` or `?key=0` in the URL."""
        chosen = self._kept(key, default, lambda asked: {"0": False, "1": True}.get(asked, default))
        name = self.topic(key)
        self._defaults[key] = default
        st.session_state.setdefault(name, chosen)
        with self._place:
            return st.toggle(
                label,
                key=name,
                help=help or None,
                persist_state="session",
                on_change=self._choose,
                args=(key,),
            )

    def editor(
        self, label: str, default: str, form: Format, *, key: str, add: str, place: Any = None
    ) -> str:
        """A table to edit, kept in the URL as the text that `form` makes of its rows.

        Args:
            label: what it is, for screen readers.
            default: the text to begin with.
            add: the button that repeats the last row.
            place: where to draw it, by default among the controls.
        """

        def read(asked: str) -> str:
            try:
                form.parse(asked)
            except ValueError:
                return default
            return asked

        text = self._kept(key, default, read, longest=_LONGEST)
        name = self.topic(key)
        self._defaults[key] = default

        def accept(changed: str) -> None:
            self._remember(key, changed)
            self.rerun(key)

        with place or self._place:
            editable_table(text, form, accept, key=name, label=label, add=add)
        return text

    def presets(self, presets: Mapping[str, Mapping[str, Any]]) -> None:
        """Buttons that set several controls at once. Call it before the controls are drawn."""
        with self._place, st.container(horizontal=True, gap="xsmall"):
            for label, values in presets.items():
                st.button(
                    label,
                    key=f"{self.id}.preset.{label}",
                    on_click=self._apply,
                    args=(values,),
                    type="secondary",
                )

    def replace(self, boxes: DrawnBoxes, sets: Mapping[str, Callable[[], Sequence[Box]]]) -> None:
        """Buttons that replace the drawn boxes by what a function gives."""
        with self._place, st.container(horizontal=True, gap="xsmall"):
            for label, replacement in sets.items():
                key = f"{self.id}.replace.{label}"
                st.button(label, key=key, on_click=self._replace, args=(boxes, replacement))

    def _replace(self, boxes: DrawnBoxes, replacement: Callable[[], Sequence[Box]]) -> None:
        boxes.set(replacement())
        self.rerun(boxes.key)

    def reset(self) -> None:
        """A button that sets every control of the step back, also those that are hidden now.

        Call it after the controls.
        """
        with self._place:
            st.button(
                _("Reset"),
                key=f"{self.id}.reset",
                type="tertiary",
                icon=":material/restart_alt:",
                on_click=self._reset,
            )

    def _reset(self) -> None:
        self._said.update(dict.fromkeys(self._defaults))
        self._apply(self._defaults)

    def topic(self, key: str) -> str:
        """The full key of a control: the name under which live pieces follow a slider."""
        return f"{self._page}.{key}"

    def _kept(self, key: str, default: Any, read: Callable[[str], Any], longest: int = 64) -> Any:
        kept = st.session_state.setdefault(_CHOICES, {})
        name = self.topic(key)
        if name not in kept:
            asked = st.query_params.get(key)
            kept[name] = default if asked is None or len(asked) > longest else read(asked)
        self._said[key] = unless_default(kept[name], default)
        return kept[name]

    def _choose(self, key: str, options: frozenset[str] | None = None) -> None:
        name = self.topic(key)
        picked = st.session_state[name]
        # One stays chosen. A select box sends labels: after another language, one that is none.
        if picked in (None, []) or (options is not None and picked not in options):
            picked = st.session_state[name] = st.session_state[_CHOICES][name]
        self._remember(key, picked)
        self.rerun(key)

    def _remember(self, key: str, value: Any) -> None:
        """Keep what was chosen, for the address too: the run may end before this is drawn."""
        st.session_state[_CHOICES][self.topic(key)] = value
        self._said[key] = unless_default(value, self._defaults[key])

    def _release(self, key: str, told: Callable[[], str | None]) -> None:
        """Let the address say what a slider was let go at, as `told` gives it, and rerun."""
        self._said[key] = told()
        self.rerun(key)

    def keep_address(self) -> None:
        """Let the address say what all controls of the page stand at.

        A report carries the address that the browser had when it was sent. Of two changes in
        quick succession the second one brings the address from before the first, and Streamlit
        takes it for the address of now.
        """
        say(carried() | self._said)

    def rerun(self, *keys: str) -> None:
        """In a callback: rerun this step and those that follow one of the controls `keys`.

        A step that follows what another one found reruns after it.
        """
        following = {self._name: None, **self._followers(keys)}
        following |= self._followers(f"{name}.facts" for name in following)
        if len(following) > 1:
            st.rerun([f"{self._page}.{name}.step" for name in following])

    def _followers(self, keys: Iterable[str]) -> dict[str, None]:
        known = st.session_state.get(_FOLLOWERS, {})
        return {name: None for key in keys for name in known.get(self.topic(key), ())}

    def _apply(self, values: Mapping[str, Any]) -> None:
        choices = st.session_state.get(_CHOICES, {})
        for key, value in values.items():
            name = self.topic(key)
            if name in choices:
                st.session_state[name] = choices[name] = value
            elif isinstance(value, list):
                set_bars(name, value)
            else:
                move(name, value, key)
        self.rerun(*values)
