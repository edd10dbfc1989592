"""A small table that follows sliders in the browser."""

from collections.abc import Mapping

from ui.live.channel import component
from ui.live.sentence import Moving, place


def live_table(columns: Mapping[str, Moving], *, key: str) -> None:
    """Show a table; a change of its first row is announced politely to screen readers.

    Args:
        columns: what lies below each heading. The last dimension of a `Follow`'s values are the
            rows, equally many in all columns.

    Raises:
        ValueError: if a `Follow` has not one topic for each dimension before the rows, or if the
            columns differ in length.
    """
    places = [place(f"columns[{h!r}]", moving, rows=True) for h, moving in columns.items()]
    lengths = {one["shape"][-1] for column in places for one in column}
    if len(lengths) > 1:
        raise ValueError(f"columns have {sorted(lengths)} rows, allowed is one length")
    data = {"headings": list(columns), "columns": places, "rows": lengths.pop()}
    component("table")(data=data, key=key)
