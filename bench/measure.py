"""What a measurement is, and how all of them are told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Measure:
    """One number that was measured, or the median of many.

    Args:
        name: what it is.
        value: how much, in `unit`.
        unit: "" for a ratio.
        wanted: the bound that `value` has to keep, such as "≥ 10"; "" if there is none.
        p95: what 95 % of the repetitions keep, where there are any: the 95th percentile, or of
            what should be as often as possible the 5th.
    """

    name: str
    value: float
    unit: str
    wanted: str = ""
    p95: float | None = None

    @classmethod
    def of(cls, name: str, values: Sequence[float], unit: str, wanted: str = "") -> "Measure":
        """The median of repetitions, and what 95 % of them keep.

        >>> Measure.of("", [1.0, 2.0, 9.0], "ms").value
        2.0
        >>> Measure.of("", range(101), "/s", "≥ 10").p95
        5.0
        """
        last = 0 if wanted.startswith("≥") else -1
        p95 = quantiles(values, n=20, method="inclusive")[last] if len(values) > 1 else None
        return cls(name, median(values), unit, wanted, p95)

    @property
    def kept(self) -> bool:
        """Whether the bound holds.

        >>> Measure("", 9.9, "/s", "≥ 10").kept, Measure("", 40.0, "ms", "≤ 50").kept
        (False, True)
        """
        if not self.wanted:
            return True
        sign, bound = self.wanted.split()
        return self.value >= float(bound) if sign == "≥" else self.value <= float(bound)


Row = tuple[str, ...]
"""A line of the table: what was measured, its median, its 95th percentile, what is wanted."""


def table(rows: Iterable[Row]) -> str:
    """A table that reads well as plain text and as Markdown."""
    rows = [("measured", "median", "p95", "wanted"), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])))
    return "\n".join(
        f"| {name:<{widths[0]}} | "
        + " | ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        + " |"
        for name, *cells in rows
    )


def rows_of(told: str) -> list[Row]:
    """The rows of a table.

    >>> rows_of(table([row(Measure("Start", 2.0, "s"))]))
    [('Start', '2 s', '', '')]
    """
    lines = [line for line in told.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in lines[2:]]


def renewed(rows: Iterable[Row], measured: Iterable[Row]) -> list[Row]:
    """The rows with those that were measured again in their places, and new ones at the end.

    >>> renewed([("a", "1"), ("b", "2")], [("b", "3"), ("c", "4")])
    [('a', '1'), ('b', '3'), ('c', '4')]
    """
    merged = {row[0]: row for row in rows} | {row[0]: row for row in measured}
    return list(merged.values())


def row(measure: Measure) -> Row:
    """What the table says of a measurement."""
    missed = "" if measure.kept else " **missed**"
    unit = f" {measure.unit}" if measure.unit else ""
    wanted = f"{measure.wanted}{unit}{missed}" if measure.wanted else ""
    p95 = "" if measure.p95 is None else digits(measure.p95)
    return measure.name, f"{digits(measure.value)}{unit}", p95, wanted


def digits(value: float) -> str:
    """Three significant digits, never an exponent.

    >>> digits(0.6789), digits(123.4), digits(4876.2)
    ('0.679', '123', '4,880')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
