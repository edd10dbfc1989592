"""The family of figures: what every figure of the app shares."""

import plotly.graph_objects as go
import pytest

from figures.style import CATEGORIES, NEGATIVE, POSITIVE, TEMPLATE, above, figure, vertical


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2.1)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_axes_are_named_and_height_is_kept():
    drawn = figure("IoU threshold", "survivors", [], height=220)
    assert drawn.layout.xaxis.title.text == "IoU threshold"
    assert drawn.layout.yaxis.title.text == "survivors"
    assert drawn.layout.height == 220


def test_traces_marks_and_notes_arrive():
    drawn = figure(
        "x",
        "y",
        [{"type": "scatter", "x": [1], "y": [2]}],
        marks=[vertical(0.3, NEGATIVE)],
        notes=[above(0.3, "here", "left")],
    )
    assert isinstance(drawn.data[0], go.Scatter)
    assert drawn.layout.shapes[0].x0 == drawn.layout.shapes[0].x1 == 0.3
    assert drawn.layout.annotations[0].text == "here"


def test_an_unknown_property_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        _ = figure("x", "y", [{"type": "scatter", "nonsense": 1}]).checked


def test_backgrounds_are_transparent_so_that_both_themes_show():
    assert TEMPLATE["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"
    assert TEMPLATE["layout"]["plot_bgcolor"] == "rgba(0,0,0,0)"


@pytest.mark.parametrize("page", ["#FFFFFF", "#14171C"])
def test_categories_stand_out_from_both_pages(page):
    light, ground = [luminance(colour) for colour in CATEGORIES], luminance(page)
    contrasts = [(max(a, ground) + 0.05) / (min(a, ground) + 0.05) for a in light]
    # Yellow on white is the palette's one weak spot: it is never used for lines on the page.
    allowed = {"#F0E442", "#56B4E9", "#E69F00"} if page == "#FFFFFF" else set()
    weak = {c for c, contrast in zip(CATEGORIES, contrasts, strict=True) if contrast < 2.5}
    assert weak <= allowed


def test_positive_and_negative_are_okabe_and_itos():
    assert (POSITIVE, NEGATIVE) == ("#009E73", "#D55E00")
