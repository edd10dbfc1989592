"""Numbers over many orders of magnitude and lists of sentences, as people write them."""

import math
import re
from collections.abc import Callable, Sequence
from functools import reduce

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def readable(number: float, digits: int = 3) -> str:
    """A number in so many significant digits; whole ones below 10,000 in full.

    >>> [readable(n, 2) for n in (0.0, 2e-17, 0.0123, 1.5, 99.7, 123456.0, math.inf)]
    ['0', '2·10⁻¹⁷', '0.012', '1.5', '100', '1.2·10⁵', '∞']
    >>> readable(-1234.5), readable(-0.00001234), readable(math.nan)
    ('−1234', '−1.23·10⁻⁵', 'NaN')
    """
    mantissa, power = _parts(number, digits)
    return mantissa + (f"·10{power.translate(_RAISED)}" if power else "")


def latex(number: float, digits: int = 3) -> str:
    r"""The same as LaTeX.

    >>> print(latex(0.0000123), latex(-2.0), latex(math.nan))
    1.23 \cdot 10^{-5} -2 \text{NaN}
    """
    mantissa, power = _parts(number, digits)
    mantissa = mantissa.replace("−", "-").replace("∞", r"\infty").replace("NaN", r"\text{NaN}")
    return mantissa + (rf" \cdot 10^{{{power}}}" if power else "")


def in_a_row(sentences: Sequence[str], translate: Callable[[str], str]) -> str:
    """Sentences, at least one, one after the other: Chinese has no space between them.

    >>> in_a_row(["It falls.", "It stops."], str)
    'It falls. It stops.'
    """
    if len(sentences) == 1:
        return sentences[0]
    pair = translate("{one} {next}")
    return reduce(lambda one, more: pair.format(one=one, next=more), sentences)


def verbatim(text: str) -> str:
    r"""Any text as code within a line of Markdown, in which nothing is a mark.

    The fence is longer than any run of backticks inside, and white space becomes single spaces: an
    empty line would end the code.

    >>> print(verbatim("[a](//b.io)"), verbatim("a `` b"), verbatim(" a\n\nb "), verbatim(""))
    ` [a](//b.io) ` ``` a `` b ``` ` a b ` ` … `
    """
    runs = re.findall("`+", text)
    fence = "`" * (1 + max(map(len, runs), default=0))
    return f"{fence} {' '.join(text.split()) or '…'} {fence}"


def _parts(number: float, digits: int) -> tuple[str, str]:
    """The digits and, where they would be many, the power of ten."""
    size, sign = abs(number), "−" if number < 0 else ""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else f"{sign}∞", ""
    if number == 0 or 1e-3 <= size < 1e4:
        whole = size >= 10**digits - 0.5
        return sign + (f"{size:.0f}" if whole else f"{size:.{digits}g}"), ""
    mantissa, power = f"{size:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return sign + mantissa, str(int(power))
