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
    found = patch_scores(one, 0, 0)
    assert found.products[0].tolist() == [8.0, 0.0]
    assert found.scores[0].tolist() == [1.0, 0.0]
    e = math.e
    assert_close(found.weights[0], torch.tensor([e / (e + 1), 1 / (e + 1)]))
    assert_close(found.unscaled_weights[0], torch.tensor([8.0, 0.0]).softmax(dim=-1))
    assert found.spread[0].item() == 4.0


def test_without_the_root_the_softmax_is_sharper(attended):
    found = patch_scores(attended, patch=3, head=2)
    assert (found.unscaled_entropy < found.entropy).all()
    assert_close(found.scores * 8, found.products)
    first = found.strongest[:, 0]
    assert (found.scores.argmax(dim=-1) == first).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("patch", [-1, ROWS * COLUMNS])
def test_a_patch_that_is_not_there_is_refused(attended, patch):
    with pytest.raises(ValueError, match="patch is"):
        head_maps(attended, patch)
    with pytest.raises(ValueError, match="patch is"):
        patch_scores(attended, patch, 0)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("head", [-1, HEADS])
def test_a_head_that_is_not_there_is_refused(attended, head):
    with pytest.raises(ValueError, match="head is"):
        patch_maps(attended, head)
    with pytest.raises(ValueError, match="head is"):
        patch_scores(attended, 0, head)


def test_double_precision_stays(attended):
    double = replace(attended, queries=attended.queries.double(), keys=attended.keys.double())
    assert patch_maps(double).patches.dtype == torch.float64
