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

from explainers.attention_maps import principal_colours, rollout_by_layer
from explainers.models.vit_s14 import VisionAttention, attention_weights
from explainers.softmax_temperature import entropy


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
    heads = attended.queries.shape[1]
    if head is not None and not 0 <= head < heads:
        raise ValueError(f"head is {head}: 0 to {heads - 1}, or None, is needed")
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
    _check_patch(attended, patch)
    query = attended.queries[:, :, 1 + patch, None]
    weights = (query @ attended.keys.mT / _root(attended)).softmax(dim=-1)[:, :, 0]
    maps = weights[..., 1:].reshape(*weights.shape[:-1], attended.rows, attended.columns)
    return HeadMaps(maps, weights[..., 0])


@dataclass(frozen=True)
class PatchScores:
    """From dot products to weights, for one patch, in every layer of one head.

    Attributes:
        products: query times key, for every token, the class token first.
        scores: products over √d.
        weights: their softmax.
        unscaled_weights: the softmax of the products themselves.
        entropy, unscaled_entropy: of the two, in nats.
        spread: standard deviation of the products over the tokens; scores have spread/√d.
        strongest: the tokens of the largest scores, by falling score, at most five.
    """

    products: Float[Tensor, "layers t"]
    scores: Float[Tensor, "layers t"]
    weights: Float[Tensor, "layers t"]
    unscaled_weights: Float[Tensor, "layers t"]
    entropy: Float[Tensor, "layers"]
    unscaled_entropy: Float[Tensor, "layers"]
    spread: Float[Tensor, "layers"]
    strongest: Int[Tensor, "layers few"]


def patch_scores(attended: VisionAttention, patch: int, head: int) -> PatchScores:
    """What the softmax is fed with, and what it would make of it without the 1/√d.

    Args:
        patch: its index, row by row.
        head: 0 to 5.

    Raises:
        ValueError: if there is no such patch or head.

    Source: Vaswani et al., 2017, section 3.2.1.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> found = patch_scores(attended, patch=0, head=0)
    >>> bool((found.unscaled_entropy <= found.entropy).all())
    True
    """
    _check_patch(attended, patch)
    heads = attended.queries.shape[1]
    if not 0 <= head < heads:
        raise ValueError(f"head is {head}: 0 to {heads - 1} is needed")
    query, keys = attended.queries[:, head, 1 + patch, None], attended.keys[:, head]
    products = (query @ keys.mT)[:, 0]
    scores = products / _root(attended)
    weights, unscaled = scores.softmax(dim=-1), products.softmax(dim=-1)
    return PatchScores(
        products=products,
        scores=scores,
        weights=weights,
        unscaled_weights=unscaled,
        entropy=entropy(weights),
        unscaled_entropy=entropy(unscaled),
        spread=products.std(dim=-1, correction=0),
        strongest=scores.argsort(dim=-1, descending=True, stable=True)[:, :5],
    )


@dataclass(frozen=True)
class ScoreSummary:
    """One layer of `PatchScores`, in plain numbers: entropies in nats."""

    score_spread: float
    score_entropy: float
    unscaled_entropy: float


def summarize_scores(scores: PatchScores, layer: int) -> ScoreSummary:
    """What there is to say of one layer.

    Raises:
        ValueError: if there is no such layer.

    >>> from explainers.models.vit_s14 import attend, vit_s14
    >>> attended = attend(vit_s14(), torch.zeros(20, 30, 3, dtype=torch.uint8))
    >>> found = summarize_scores(patch_scores(attended, patch=0, head=0), layer=0)
    >>> found.score_entropy > found.unscaled_entropy
    True
    """
    if not 0 <= layer < len(scores.entropy):
        raise ValueError(f"layer is {layer}: 0 to {len(scores.entropy) - 1} is needed")
    return ScoreSummary(
        score_spread=float(scores.spread[layer]),
        score_entropy=float(scores.entropy[layer]),
        unscaled_entropy=float(scores.unscaled_entropy[layer]),
    )


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


def _check_patch(attended: VisionAttention, patch: int) -> None:
    count = attended.rows * attended.columns
    if not 0 <= patch < count:
        raise ValueError(f"patch is {patch}: 0 to {count - 1} is needed")
