"""Figures of the Attention maps page hold what the explainers found."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from explainers.attended_photo import Compared
from explainers.attention_maps import CBAM, attention_cost, cbam_parts
from explainers.models.selfie_segmentation import Gate
from explainers.models.vit_s14 import VisionAttention
from explainers.patch_attention import HeadMaps, PatchMaps, PatchScores, patch_scores
from figures import attention_maps as figures


@pytest.fixture
def gate() -> Gate:
    features = torch.arange(4.0 * 64 * 64).reshape(4, 64, 64)
    values = torch.tensor([0.2, 0.9, 0.1, 0.5])
    return Gate("enc.0", torch.arange(4.0), torch.tensor([0.0, 1.0]), values, features)


def maps(layers: int = 2, rows: int = 2, columns: int = 3) -> PatchMaps:
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(layers, rows * columns, rows, columns, generator=generator)
    class_token = torch.rand(layers, rows, columns, generator=generator)
    ones = torch.ones(layers, rows * columns)
    return PatchMaps(patches, ones, class_token, ones[:, 0])


def test_patches_are_sent_as_bytes_layer_by_layer():
    found = maps()
    (layer,) = figures.patch_layers(found, (0, 0, 60, 40), 4, "page.layer", str)
    header, arrays = layer.encode((60, 40))
    assert arrays["values"].dtype == np.uint8
    assert arrays["values"].shape == (2 * 6, 2, 3)
    assert (header["cell"], header["slider"]) == (4, "page.layer")
    shown = header["first"] + header["step"] * arrays["values"].astype(float)
    assert np.abs(shown - found.patches.reshape(12, 2, 3).numpy()).max() <= 0.5 / 255 + 1e-6


def test_the_class_token_is_a_map_for_each_layer():
    (layer,) = figures.class_layers(maps(), (0, 0, 60, 40), "page.layer", str)
    assert layer.encode((60, 40))[1]["values"].shape == (2, 2, 3)


def test_masks_are_thinned_to_64():
    (layer,) = figures.mask_layers(torch.full((3, 256, 256), 0.5), "page.strength", str)
    values = layer.encode((60, 40))[1]["values"]
    assert values.shape == (3, 64, 64)
    assert set(values.flatten().tolist()) == {128}


def test_channels_go_from_their_least_to_their_largest_value(gate):
    shown = figures.spread(gate.features)
    assert shown.shape == (4, 32, 32)
    assert_close(shown.amin(dim=(1, 2)), torch.zeros(4))
    assert_close(shown.amax(dim=(1, 2)), torch.ones(4))
    assert figures.spread(torch.ones(1, 2, 2)).unique().tolist() == [0]


def test_the_flow_shows_means_bottleneck_and_gates(gate):
    made = figures.gate_flow(gate, str)
    assert [list(bars.y) for bars in made.data] == [
        gate.pooled.tolist(),
        gate.squeezed.tolist(),
        gate.gate.tolist(),
    ]
    titles = [note.text for note in made.layout.annotations]
    assert titles == ["means (4)", "→ ReLU (2)", "→ gates (4)"]


def test_a_gate_without_a_bottleneck_says_so(gate):
    plain = Gate("context", gate.pooled, torch.empty(0), gate.gate, gate.features)
    notes = [note.text for note in figures.gate_flow(plain, str).layout.annotations]
    assert "→ no bottleneck here" in notes


def test_tiles_are_the_most_open_and_the_most_closed_channels(gate):
    made = figures.channel_tiles(gate, str)
    titles = [note.text for note in made.layout.annotations]
    assert titles[0] == "channel 1: 0.90"
    assert titles[-1] == "channel 2: 0.10"


def test_heads_are_drawn_each_on_its_own_scale():
    weights = torch.rand(2, 6, 2, 3, generator=torch.Generator().manual_seed(0)) / 10
    found = HeadMaps(weights, torch.zeros(2, 6))
    made = figures.head_figure(found, 1, str)
    assert len(made.data) == 6
    assert all(trace.z.max() == 100 for trace in made.data)
    share = weights[1, 4] / weights[1, 4].max()
    assert np.abs(made.data[4].z - 100 * share.numpy()).max() <= 0.5
    assert (figures.drawn_heads(found)[1, 4] == made.data[4].z).all()


@pytest.fixture
def attended() -> VisionAttention:
    generator = torch.Generator().manual_seed(2)
    queries, keys = (2 * torch.randn(12, 6, 7, 64, generator=generator) for _ in "qk")
    return VisionAttention(torch.zeros(7, 384), queries, keys, 2, 3, (0.0, 0.0, 60.0, 40.0))


@pytest.fixture
def axes(attended) -> dict[str, PatchScores]:
    """Scores through patch 4, layer 7, head 2."""
    return {
        "patch": patch_scores(attended, None, 7, 2),
        "layer": patch_scores(attended, 4, None, 2),
        "head": patch_scores(attended, 4, 7, None),
    }


HERE = {"patch": 4, "layer": 7, "head": 2}


def test_all_axes_go_through_the_present_state(axes):
    ranked = [figures.ranked(found) for found in axes.values()]
    for traces in zip(*ranked, strict=True):
        here = [values[at] for values, at in zip(traces, HERE.values(), strict=True)]
        assert_close(here[1], here[0])
        assert_close(here[2], here[0])
    words = [figures.score_words(found, 3) for found in axes.values()]
    tables = [figures.score_table(found, 3, str) for found in axes.values()]
    for told in (words, tables):
        for name in told[0]:
            here = [each[name][at] for each, at in zip(told, HERE.values(), strict=True)]
            assert here[1] == here[2] == here[0]


def test_the_figure_ranks_the_tokens_of_the_query_shown(axes):
    found = axes["layer"]
    made = figures.score_figure(found, 7, str)
    order = found.products[7].argsort(descending=True)
    differences = (found.products[7] - found.products[7].max())[order]
    wanted = [
        differences / 8,
        differences,
        found.weights[7][order],
        found.unscaled_weights[7][order],
    ]
    for trace, values in zip(made.data, wanted, strict=True):
        assert_close(torch.tensor(trace.y), values)


def test_every_patch_layer_and_head_has_its_map(axes, attended):
    (layer,) = figures.weight_layers(axes, "patch", attended, 4, str)
    header, arrays = layer.encode((60, 40))
    assert (header["points_at"], header["cell"], header["states"]) == ("patch", 4, 6)
    assert header["along"] == {"layer": [6, 12], "head": [18, 6]}
    shown = arrays["values"].reshape(24, 6) / 255
    for first, found in zip((0, 6, 18), axes.values(), strict=True):
        weights = found.weights[:, 1:]
        wanted = (weights / weights.amax(dim=1, keepdim=True)).numpy()
        assert np.abs(shown[first : first + len(wanted)] - wanted).max() <= 0.5 / 255 + 1e-6


def test_words_say_whose_scores_they_are(axes):
    words = figures.score_words(axes["patch"], columns=3)
    assert (words["row"], words["column"]) == (list("111222"), list("123123"))
    assert (set(words["layer"]), set(words["head"])) == ({"8"}, {"3"})
    spread = axes["patch"].products.std(dim=1, correction=0).tolist()
    assert words["spread"] == [f"{value:.2f}" for value in spread]
    assert words["after"] == [f"{value / 8:.2f}" for value in spread]


def test_the_largest_share_is_told_of_what_is_looked_at():
    def told(look: str) -> str:
        return figures.shared_out(look, patch=7, columns=3, translate=str)

    assert told("patch") == "the attention of the patch in row 3, column 2 (itself included)"
    assert told("rollout") == "the rollout of the patch in row 3, column 2"
    assert told("class") == "the class token's attention"


def test_the_table_lists_the_strongest_tokens(axes):
    found = axes["head"]
    table = figures.score_table(found, columns=3, translate=str)
    tokens = ["class token", *(f"{row}, {column}" for row in (1, 2) for column in (1, 2, 3))]
    for head in range(6):
        order = found.products[head].argsort(descending=True)[:5].tolist()
        assert table["patch (row, column)"][head] == [tokens[token] for token in order]
        assert table["q·k"][head] == [f"{found.products[head, t]:.1f}" for t in order]
        assert table["q·k / √d"][head] == [f"{found.products[head, t] / 8:.2f}" for t in order]
        assert table["weight"][head] == [f"{found.weights[head, t]:.3f}" for t in order]
        without = found.products[head].softmax(dim=0)
        assert table["without √d"][head] == [f"{without[t]:.3f}" for t in order]


def test_distances_stand_at_their_layers():
    distances = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    dots, here = figures.distance_figure(distances, 1, str).data
    assert list(zip(dots.x, dots.y, strict=True)) == [(1, 1.0), (1, 2.0), (2, 3.0), (2, 4.0)]
    assert (list(here.x), list(here.y)) == ([2, 2], [3.0, 4.0])


def test_channel_paths_are_sorted_by_the_gate():
    features = torch.rand(1, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    parts = cbam_parts(CBAM(32).requires_grad_(False), features)
    together = figures.channel_paths(parts, str).data[2]
    assert list(together.y) == sorted(parts.channel[0].tolist(), reverse=True)
    assert len(figures.place_tiles(parts, str).data) == 3


def test_places_gather_from_all_places():
    (layer,) = figures.gathered_layers(torch.full((4, 2, 2), 0.25), (0, 0, 9, 9), str)
    header, arrays = layer.encode((9, 9))
    assert (header["cell"], arrays["values"].shape) == (2, (4, 2, 2))
    (strength,) = figures.strength_layers(torch.zeros(2, 2), 0.0, (0, 0, 9, 9), str)
    assert strength.encode((9, 9))[0]["high"] == 1


def test_three_mechanisms_are_shown_on_one_scale():
    strength = torch.arange(16.0).reshape(4, 2, 2)
    gate, weights = torch.ones(5), torch.full((4, 2, 2), 0.25)
    found = Compared(strength, gate, gate, torch.ones(2, 2), weights)
    shown = figures.mechanism_layers(found, (0, 0, 9, 9), str)
    assert list(shown) == ["Before", "SE", "CBAM", "Non-local"]
    assert [layers[0].high for layers in shown.values()] == [11, 11, 11, 0.25]


def test_costs_are_listed_for_every_mechanism():
    costs = {kind: attention_cost(kind, 96, 14, 14) for kind in figures.MECHANISMS}
    table = figures.cost_table(costs, str)
    assert table["mechanism"] == ["SE", "CBAM", "Non-local", "Non-local, with weights"]
    assert table["parameters"] == ["1,152", "1,250", "0", "18,432"]
    assert {len(column) for column in table.values()} == {4}
