"""One sentence with live numbers; it can follow a slider in the browser."""

from collections.abc import Sequence

from ui.live.channel import component


def live_sentence(
    text: str | Sequence[str], *, key: str, topic: str = "", step: str = "", pinned: str = "Pinned"
) -> None:
    """Show `text`; where it is a sequence, the one at the position of the slider `topic`.

    `**bold**` is the only mark-up. Changes are announced politely to screen readers.
    """
    texts = [text] if isinstance(text, str) else list(text)
    data = {"texts": texts, "topic": topic, "step": step, "pinned": pinned}
    component("sentence")(data=data, key=key)
