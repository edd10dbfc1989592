"""Maps of a vision transformer's attention, against torch's own attention."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

from explainers.models.vit_s14 import VisionAttention
from explainers.patch_attention import (
    all_attention,
    head_distances,
    head_maps,
    patch_maps,
    patch_scores,
    rollout_maps,
)

ROWS, COLUMNS, LAYERS, HEADS = 3, 4, 12, 6
TOKENS = 1 + ROWS * COLUMNS


@pytest.fixture
def attended() -> VisionAttention:
    generator = torch.Generator().manual_seed(1)
    queries, keys = (torch.randn(LAYERS, HEADS, TOKENS, 64, generator=generator) for _ in "qk")
    tokens = torch.randn(TOKENS, 384, generator=generator)
    return VisionAttention(tokens, queries, keys, ROWS, COLUMNS, (0.0, 0.0, 40.0, 30.0))


@pytest.fixture
def oracle(attended: VisionAttention) -> torch.Tensor:
    """Attention over unit vectors gives the weights themselves."""
    unit = torch.eye(TOKENS).expand(LAYERS, HEADS, -1, -1)
    return scaled_dot_product_attention(attended.queries, attended.keys, unit)


def test_all_attention_is_torchs(attended, oracle):
    assert_close(all_attention(attended), oracle)


@pytest.mark.parametrize("head", [None, 0, 5])
def test_patch_maps_are_weights_over_their_largest(attended, oracle, head):
    maps = patch_maps(attended, head)
    weights = oracle.mean(dim=1) if head is None else oracle[:, head]
    restored = maps.patches.flatten(2) * maps.largest[..., None]
    assert_close(restored, weights[:, 1:, 1:])
    assert_close(maps.patches.flatten(2).amax(dim=-1), torch.ones(LAYERS, TOKENS - 1))
    from_class = maps.class_token.flatten(1) * maps.class_largest[:, None]
    assert_close(from_class, weights[:, 0, 1:])


def test_head_distances_are_measured_on_the_grid_of_patches(attended, oracle):
    places = torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLUMNS)).double()
    apart = torch.cdist(places, places)
    weights = oracle[:, :, 1:, 1:].double()
    mean = (weights * apart).sum(dim=-1) / weights.sum(dim=-1)
    assert_close(head_distances(attended), mean.mean(dim=-1).float())


def test_head_maps_are_those_of_the_patch(attended, oracle):
    maps = head_maps(attended, patch=5)
    assert_close(maps.patches.flatten(2), oracle[:, :, 6, 1:])
    assert_close(maps.class_token, oracle[:, :, 6, 0])


def test_rollout_of_the_first_layer_is_half_attention_half_itself(attended, oracle):
    maps = rollout_maps(attended)
    restored = maps.patches[0].flatten(1) * maps.largest[0, :, None]
    expected = 0.5 * oracle[0].mean(dim=0) + 0.5 * torch.eye(TOKENS)
    assert_close(restored, expected[1:, 1:])


def test_scores_by_hand():
    """One patch with q = (8, 0, …), keys (1, 0, …) and (0, …): products 8 and 0."""
    queries = torch.zeros(LAYERS, HEADS, 2, 64)
    keys = torch.zeros(LAYERS, HEADS, 2, 64)
    queries[:, :, 1, 0], keys[:, :, 0, 0] = 8.0, 1.0
    one = VisionAttention(torch.zeros(2, 384), queries, keys, 1, 1, (0.0, 0.0, 1.0, 1.0))
    found = patch_scores(one, 0, 0, 0)
    assert found.products.tolist() == [[8.0, 0.0]]
    assert found.scores.tolist() == [[1.0, 0.0]]
    e = math.e
    assert_close(found.weights[0], torch.tensor([e / (e + 1), 1 / (e + 1)]))
    assert_close(found.unscaled_weights[0], torch.tensor([8.0, 0.0]).softmax(dim=-1))
    assert found.spread.tolist() == [4.0]


ALL_PATCHES, ALL_LAYERS, ALL_HEADS = (None, 3, 2), (5, None, 2), (5, 3, None)


@pytest.mark.parametrize("asked", [ALL_PATCHES, ALL_LAYERS, ALL_HEADS, (5, 3, 2), (None,) * 3])
def test_scores_are_those_of_the_patch_layer_and_head_they_name(attended, oracle, asked):
    found = patch_scores(attended, *asked)
    token, layer, head = found.patch + 1, found.layer, found.head
    sizes = (TOKENS - 1, LAYERS, HEADS)
    assert len(token) == math.prod(
        size for one, size in zip(asked, sizes, strict=True) if one is None
    )
    assert_close(found.weights, oracle[layer, head, token])
    unit = torch.eye(TOKENS).expand(LAYERS, HEADS, -1, -1)
    unscaled = scaled_dot_product_attention(attended.queries, attended.keys, unit, scale=1.0)
    assert_close(found.unscaled_weights, unscaled[layer, head, token])
    products = torch.einsum("lhqd,lhkd->lhqk", attended.queries, attended.keys)
    assert_close(found.products, products[layer, head, token])
    assert_close(found.entropy, torch.distributions.Categorical(found.weights).entropy())


def test_what_is_asked_for_stands_still(attended):
    assert set(patch_scores(attended, *ALL_PATCHES).layer.tolist()) == {3}
    assert set(patch_scores(attended, *ALL_LAYERS).patch.tolist()) == {5}
    assert patch_scores(attended, *ALL_HEADS).head.tolist() == list(range(HEADS))


def test_without_the_root_the_softmax_is_sharper(attended):
    found = patch_scores(attended, None, None, 2)
    assert (found.unscaled_entropy < found.entropy).all()
    assert_close(found.scores * 8, found.products)
    assert_close(found.scores.gather(1, found.strongest), found.scores.sort(descending=True).values)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("patch", [-1, ROWS * COLUMNS])
def test_a_patch_that_is_not_there_is_refused(attended, patch):
    with pytest.raises(ValueError, match="patch is"):
        head_maps(attended, patch)
    with pytest.raises(ValueError, match="patch is"):
        patch_scores(attended, patch, 0, 0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("head", [-1, HEADS])
def test_a_head_that_is_not_there_is_refused(attended, head):
    with pytest.raises(ValueError, match="head is"):
        patch_maps(attended, head)
    with pytest.raises(ValueError, match="head is"):
        patch_scores(attended, 0, 0, head)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("layer", [-1, LAYERS])
def test_a_layer_that_is_not_there_is_refused(attended, layer):
    with pytest.raises(ValueError, match="layer is"):
        patch_scores(attended, 0, layer, 0)


def test_double_precision_stays(attended):
    double = replace(attended, queries=attended.queries.double(), keys=attended.keys.double())
    assert patch_maps(double).patches.dtype == torch.float64
