"""The Concept title page: what it says is what the explainer found."""

import pytest
import torch

from explainers.concept_id import measure_brightness
from tests.pages.conftest import facts, pieces
from ui.samples import DEFAULT, sample


@pytest.mark.parametrize("threshold", [0, 128, 255])
def test_what_the_page_says(open_page, threshold):
    app = open_page("concept_id", threshold=str(threshold))
    found = measure_brightness(torch.from_numpy(sample(DEFAULT).array()), threshold)
    (sentence,) = pieces(app, "sentence")
    assert f"**{found.share:.1%}**" in sentence["text"]
    assert facts(app, "concept_id") == {"percent": 100 * found.share}
