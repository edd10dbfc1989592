"""Attention maps: numbers on screen, where to look from, and questions."""

import base64
import io

import numpy as np
import pytest
import torch

from explainers.models import selfie_segmentation, vit_s14
from explainers.models.selfie_segmentation import segment
from explainers.models.vit_s14 import attend, attention_weights
from tests.pages.conftest import complaints, facts, pieces
from ui.samples import sample
from ui.toolbar import _file

PAGE = "attention_maps"


def image(name: str = "night_cafe") -> torch.Tensor:
    return torch.from_numpy(sample(name).array())


def sentence(app, start: str) -> dict:
    (found,) = (piece for piece in pieces(app, "sentence") if piece["text"].startswith(start))
    return found


def test_the_mask_at_strength_one_is_the_networks(open_page):
    app = open_page(PAGE, photo="astronaut")
    assert complaints(app) == []
    covered = 100 * float(segment(selfie_segmentation(), image("astronaut")).mean())
    assert facts(app, PAGE)["covered"] == pytest.approx(covered, abs=0.05)
    assert "finds nobody" not in sentence(app, "**Encoder 1**")["text"]


def test_a_photo_without_a_person_says_so_and_offers_one(open_page):
    app = open_page(PAGE)
    assert "finds nobody here" in sentence(app, "**Encoder 1**")["text"]
    app.button(key="attention_maps.gates.offer").click().run()
    assert complaints(app) == []
    assert "finds nobody" not in sentence(app, "**Encoder 1**")["text"]
    assert app.query_params["photo"] == "astronaut"


@pytest.mark.parametrize(("picture", "patches"), [("whole", 14 * 18), ("crop", 16 * 16)])
def test_the_middle_patch_and_its_largest_weight(open_page, picture, patches):
    app = open_page(PAGE, picture=picture, layer="3")
    assert complaints(app) == []
    attended = attend(vit_s14(), image(), picture == "whole")
    shown = facts(app, PAGE)
    assert shown["patches"] == patches
    middle = attended.rows // 2 * attended.columns + attended.columns // 2
    weights = attention_weights(attended, 2).mean(dim=0)[1 + middle, 1:]
    assert shown["patch"] == middle
    assert shown["largest"] == pytest.approx(100 * float(weights.max()), rel=1e-3)


@pytest.mark.parametrize("look", ["patch", "class", "rollout"])
@pytest.mark.parametrize("head", ["mean", "0", "5"])
def test_every_way_to_look_works(open_page, look, head):
    app = open_page(PAGE, look=look, head=head)
    assert complaints(app) == []
    assert 0 < facts(app, PAGE)["largest"] <= 100


def test_scores_belong_to_the_layer_and_head_asked_for(open_page):
    app = open_page(PAGE, score_layer="1", score_head="2")
    attended = attend(vit_s14(), image())
    middle = attended.rows // 2 * attended.columns + attended.columns // 2
    products = attended.keys[0, 1] @ attended.queries[0, 1, 1 + middle]
    shown = facts(app, PAGE)
    assert shown["score_spread"] == pytest.approx(float(products.std(correction=0)), rel=1e-4)
    weights = (products / 8).softmax(dim=0)
    entropy = -(weights * weights.log()).sum()
    assert shown["score_entropy"] == pytest.approx(float(entropy), rel=1e-4)


def test_maps_are_arrays_in_the_file_and_lists_are_a_table(open_page, drawn):
    open_page(PAGE)
    steps = {step.id.removeprefix(f"{PAGE}."): step for step in drawn.steps}
    files = {name: _file(step.id, step._tables) for name, step in steps.items() if step._tables}
    suffixes = {name: file["name"].rpartition(".")[2] for name, file in files.items()}
    assert suffixes == {
        "gates": "csv",
        "places": "npz",
        "patches": "npz",
        "scores": "csv",
        "depth": "npz",
        "compare": "npz",
    }
    (map_,) = np.load(io.BytesIO(base64.b64decode(files["places"]["content"]))).values()
    assert map_.ndim == 2
    assert ((map_ >= 0) & (map_ <= 1)).all()
