"""What a measurement is, and how all of them are told."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number that was measured.

    Args:
        name: what it is.
        value: how much, in `unit`.
        unit: "" for a ratio.
        wanted: the bound that it has to keep, such as "≥ 10"; "" if there is none.
    """

    name: str
    value: float
    unit: str
    wanted: str = ""

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


def table(measures: Iterable[Measure]) -> str:
    """A table that reads well as plain text and as Markdown."""
    rows = [("measured", "value", "wanted"), *map(_row, measures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ("-" * widths[0], "-" * (widths[1] - 1) + ":", "-" * (widths[2] - 1) + ":"))
    return "\n".join(
        f"| {n:<{widths[0]}} | {v:>{widths[1]}} | {w:>{widths[2]}} |" for n, v, w in rows
    )


def _row(measure: Measure) -> tuple[str, str, str]:
    missed = "" if measure.kept else " **missed**"
    unit = f" {measure.unit}" if measure.unit else ""
    wanted = f"{measure.wanted}{unit}{missed}" if measure.wanted else ""
    return measure.name, f"{digits(measure.value)}{unit}", wanted


def digits(value: float) -> str:
    """Three significant digits, never an exponent.

    >>> digits(0.6789), digits(123.4), digits(4876.2)
    ('0.679', '123', '4,880')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
