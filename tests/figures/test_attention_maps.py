"""Figures of the Attention maps page hold what the explainers found."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from explainers.attention_maps import CBAM, cbam_parts
from explainers.models.selfie_segmentation import Gate
from explainers.patch_attention import HeadMaps, PatchMaps, PatchScores
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
    (layer,) = figures.patch_layers(found, (0, 0, 60, 40), 4, "page.layer", "hint", str)
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
    assert [note.text for note in made.layout.annotations].count("→") == 2


def test_a_gate_without_a_bottleneck_says_so(gate):
    plain = Gate("context", gate.pooled, torch.empty(0), gate.gate, gate.features)
    notes = [note.text for note in figures.gate_flow(plain, str).layout.annotations]
    assert "no bottleneck here" in notes


def test_tiles_are_the_most_open_and_the_most_closed_channels(gate):
    made = figures.channel_tiles(gate, str)
    titles = [note.text for note in made.layout.annotations]
    assert titles[0] == "channel 1: 0.90"
    assert titles[-1] == "channel 2: 0.10"


def test_heads_are_drawn_each_on_its_own_scale():
    weights = torch.rand(2, 6, 2, 3, generator=torch.Generator().manual_seed(0)) / 10
    made = figures.head_figure(HeadMaps(weights, torch.zeros(2, 6)), 1, str)
    assert len(made.data) == 6
    assert all(trace.z.max() == pytest.approx(1) for trace in made.data)


@pytest.fixture
def scores() -> PatchScores:
    products = torch.tensor([[8.0, 0.0, 4.0], [0.0, 16.0, 8.0]])
    scaled = products / 8
    zero = torch.zeros(2)
    strongest = scaled.argsort(dim=1, descending=True)
    weights = scaled.softmax(dim=1), products.softmax(dim=1)
    return PatchScores(products, scaled, *weights, zero, zero, zero, strongest)


def test_weights_are_ranked(scores):
    made = figures.ranked_weights(scores, 0, str)
    assert list(made.data[0].y) == sorted(scores.weights[0].tolist(), reverse=True)
    assert list(made.data[1].y) == sorted(scores.unscaled_weights[0].tolist(), reverse=True)


def test_the_table_names_tokens_by_row_and_column(scores):
    table = figures.score_table(scores, 1, columns=2, translate=str)
    assert table["patch (row, column)"] == ["0, 0", "0, 1", "class token"]
    assert table["q·k"] == ["16.0", "8.0", "0.0"]
    assert table["q·k / √d"] == ["2.00", "1.00", "0.00"]


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
    (layer,) = figures.gathered_layers(torch.full((4, 2, 2), 0.25), (0, 0, 9, 9), "hint", str)
    header, arrays = layer.encode((9, 9))
    assert (header["cell"], arrays["values"].shape) == (2, (4, 2, 2))
    (strength,) = figures.strength_layers(torch.zeros(2, 2), 0.0, (0, 0, 9, 9), str)
    assert strength.encode((9, 9))[0]["high"] == 1
