"""What a vision transformer's patches look at, read from the queries and keys of one photo.

Sources: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1; Dosovitskiy et al., "An
Image is Worth 16x16 Words", 2021, section 4.5; Abnar & Zuidema, "Quantifying Attention Flow in
Transformers", 2020, section 3.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from explainers.attention_maps import (
    mean_attention_distance,
    principal_colours,
    rollout_by_layer,
)
from explainers.models.vit_s14 import VisionAttention, attention_weights
from explainers.softmax_temperature import entropy

_FEW = 16  # strongest tokens listed


def all_attention(attended: VisionAttention) -> Float[Tensor, "layers heads t t"]:
    """The weights of every head of every layer; each row sums to 1.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> all_attention(attended).shape
    torch.Size([12, 6, 248, 248])
    """
    return torch.stack(
        [attention_weights(attended, layer) for layer in range(len(attended.queries))]
    )


@dataclass(frozen=True)
class PatchMaps:
    """What every patch looks at, layer by layer.

    Attributes:
        patches: for each patch its weights over all patches, divided by the largest of them.
        largest: that largest weight.
        class_token: the same for the class token.
        class_largest: its largest weight.
    """

    patches: Float[Tensor, "layers p rows columns"]
    largest: Float[Tensor, "layers p"]
    class_token: Float[Tensor, "layers rows columns"]
    class_largest: Float[Tensor, "layers"]


def patch_maps(attended: VisionAttention, head: int | None = None) -> PatchMaps:
    """The maps of one head, or of the mean of all heads, in every layer.

    Args:
        head: 0 to 5; None for the mean.

    Raises:
        ValueError: if there is no such head.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> maps = patch_maps(attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8)))
    >>> maps.patches.shape, maps.class_token.shape
    (torch.Size([12, 247, 13, 19]), torch.Size([12, 13, 19]))
    """
    if head is not None:
        _check("head", head, attended.queries.shape[1])
    weights = all_attention(attended)
    return _maps(weights.mean(dim=1) if head is None else weights[:, head], attended)


def rollout_maps(attended: VisionAttention) -> PatchMaps:
    """The same, with attention followed back to the first layer: rollout.

    Source: Abnar & Zuidema, 2020, section 3, equation 1.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> maps = rollout_maps(attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8)))
    >>> bool((maps.largest <= 1).all())
    True
    """
    return _maps(rollout_by_layer(all_attention(attended)), attended)


def _maps(weights: Float[Tensor, "layers t t"], attended: VisionAttention) -> PatchMaps:
    to_patches = weights[:, :, 1:]
    largest = to_patches.amax(dim=-1)
    relative = to_patches / largest.clamp(min=torch.finfo(weights.dtype).tiny)[..., None]
    maps = relative.reshape(*relative.shape[:-1], attended.rows, attended.columns)
    return PatchMaps(maps[:, 1:], largest[:, 1:], maps[:, 0], largest[:, 0])


@dataclass(frozen=True)
class HeadMaps:
    """What one patch looks at in every head of every layer.

    Attributes:
        patches: weights over the patches; with the class token's they sum to 1.
        class_token: the weight of the class token.
    """

    patches: Float[Tensor, "layers heads rows columns"]
    class_token: Float[Tensor, "layers heads"]


def head_maps(attended: VisionAttention, patch: int) -> HeadMaps:
    """All heads for one patch.

    Args:
        patch: its index, row by row.

    Raises:
        ValueError: if there is no such patch.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> head_maps(attended, patch=0).patches.shape
    torch.Size([12, 6, 13, 19])
    """
    _check("patch", patch, attended.rows * attended.columns)
    query = attended.queries[:, :, 1 + patch, None]
    weights = (query @ attended.keys.mT / _root(attended)).softmax(dim=-1)[:, :, 0]
    maps = weights[..., 1:].reshape(*weights.shape[:-1], attended.rows, attended.columns)
    return HeadMaps(maps, weights[..., 0])


@dataclass(frozen=True)
class PatchScores:
    """From dot products to weights, for n queries of patches.

    Attributes:
        patch, layer, head: whose query it is and where; counted from 0, patches row by row.
        products: query times key, for every token, the class token first.
        scores: products over √d.
        weights: their softmax.
        unscaled_weights: the softmax of the products themselves.
        entropy, unscaled_entropy: of the two, in nats.
        spread: standard deviation of the products over the tokens; scores have spread/√d.
        strongest: the tokens of the largest scores, by falling score, at most 16.
    """

    patch: Int[Tensor, "n"]
    layer: Int[Tensor, "n"]
    head: Int[Tensor, "n"]
    products: Float[Tensor, "n t"]
    scores: Float[Tensor, "n t"]
    weights: Float[Tensor, "n t"]
    unscaled_weights: Float[Tensor, "n t"]
    entropy: Float[Tensor, "n"]
    unscaled_entropy: Float[Tensor, "n"]
    spread: Float[Tensor, "n"]
    strongest: Int[Tensor, "n few"]


def patch_scores(
    attended: VisionAttention, patch: int | None, layer: int | None, head: int | None
) -> PatchScores:
    """What the softmax is fed with, and what it would make of it without the 1/√d.

    None stands for all: `patch_scores(attended, None, 5, 0)` are those of every patch in one head
    of one layer, `patch_scores(attended, 7, None, 0)` those of one patch in every layer.

    Args:
        patch: its index, row by row.
        layer: 0 to 11.
        head: 0 to 5.

    Returns:
        Layer by layer, within it head by head, within it patch by patch.

    Raises:
        ValueError: if there is no such patch, layer or head.

    Source: Vaswani et al., 2017, section 3.2.1.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> found = patch_scores(attended, patch=0, layer=None, head=2)
    >>> found.layer.tolist(), found.weights.shape
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], torch.Size([12, 248]))
    >>> bool((found.unscaled_entropy <= found.entropy).all())
    True
    """
    count = attended.queries.shape
    device = attended.queries.device
    layers = _chosen("layer", layer, count[0], device)
    heads = _chosen("head", head, count[1], device)
    patches = _chosen("patch", patch, count[2] - 1, device)
    queries = attended.queries[layers[:, None, None], heads[:, None], 1 + patches]
    keys = attended.keys[layers[:, None], heads]
    products = (queries @ keys.mT).flatten(0, 2)
    scores = products / _root(attended)
    weights, unscaled = scores.softmax(dim=-1), products.softmax(dim=-1)
    where = torch.cartesian_prod(layers, heads, patches)
    return PatchScores(
        patch=where[:, 2],
        layer=where[:, 0],
        head=where[:, 1],
        products=products,
        scores=scores,
        weights=weights,
        unscaled_weights=unscaled,
        entropy=entropy(weights),
        unscaled_entropy=entropy(unscaled),
        spread=products.std(dim=-1, correction=0),
        strongest=scores.argsort(dim=-1, descending=True, stable=True)[:, :_FEW],
    )


@dataclass(frozen=True)
class ScoreSummary:
    """One query of `PatchScores`, in plain numbers: entropies in nats."""

    score_spread: float
    score_entropy: float
    unscaled_entropy: float


def summarize_scores(scores: PatchScores, index: int) -> ScoreSummary:
    """What there is to say of one query.

    Raises:
        ValueError: if there is no such query.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> found = summarize_scores(patch_scores(attended, 0, None, 0), index=0)
    >>> found.score_entropy > found.unscaled_entropy
    True
    """
    _check("index", index, len(scores.entropy))
    return ScoreSummary(
        score_spread=float(scores.spread[index]),
        score_entropy=float(scores.entropy[index]),
        unscaled_entropy=float(scores.unscaled_entropy[index]),
    )


def head_distances(attended: VisionAttention) -> Float[Tensor, "layers heads"]:
    """How far, in patches, each head looks: `mean_attention_distance` of all attention.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> head_distances(attended).shape
    torch.Size([12, 6])
    """
    return mean_attention_distance(all_attention(attended), attended.rows, attended.columns)


def patch_colours(attended: VisionAttention) -> Float[Tensor, "rows columns 3"]:
    """The patches' final features as colours: `principal_colours` on their grid.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> patch_colours(attended).shape
    torch.Size([13, 19, 3])
    """
    colours = principal_colours(attended.tokens[1:])
    return colours.reshape(attended.rows, attended.columns, 3)


def _root(attended: VisionAttention) -> float:
    return math.sqrt(attended.keys.shape[-1])


def _chosen(
    name: str, index: int | None, count: int, device: torch.device
) -> Int[Tensor, "chosen"]:
    """One of `count`, or all of them."""
    if index is None:
        return torch.arange(count, device=device)
    _check(name, index, count)
    return torch.tensor([index], device=device)


def _check(name: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise ValueError(f"{name} is {index}: 0 to {count - 1} is needed")
