"""Attention maps: which channels, which places, and which patches a network listens to.

Squeeze-and-excitation weighs channels, CBAM channels and then places, self-attention every pair of
positions. Each is here as it stands in its paper, with all that it computes on the way.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from explainers.boxes import Number

Order = Literal["channel_first", "spatial_first"]
Mechanism = Literal["se", "cbam", "non_local", "embedded_non_local"]


def attention_scores(
    query: Float[Tensor, "*#batch l d"],
    key: Float[Tensor, "*#batch s d"],
    scale: Number | None = None,
) -> Float[Tensor, "... l s"]:
    """What self-attention hands to softmax: the dot product of every query with every key, scaled.

    Args:
        query, key: finite numbers; d at least 1.
        scale: factor of the dot products, finite; 1 / √d if none is given. Without it the dot
            product of d independent terms of variance 1 has variance d.

    Raises:
        ValueError: if the sizes do not fit, or a score is not finite.

    Source: Vaswani et al., 2017, section 3.2.1 with its footnote 4.

    >>> attention_scores(torch.tensor([[2.0, 0, 0, 0]]), torch.eye(4))
    tensor([[1., 0., 0., 0.]])
    """
    if min(query.ndim, key.ndim) < 2 or query.shape[-1] != key.shape[-1] or query.shape[-1] == 0:
        raise ValueError(
            f"query has shape {list(query.shape)}, key has shape {list(key.shape)}: "
            "[..., l, d] and [..., s, d] are needed, d at least 1"
        )
    _check_broadcast(query.shape[:-2], key.shape[:-2], "key")
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    scores = query * scale @ key.transpose(-2, -1)
    if not scores.isfinite().all():
        raise ValueError("query, key and scale give a score that is not finite")
    return scores


def scaled_dot_product_attention(
    query: Float[Tensor, "*#batch l d"],
    key: Float[Tensor, "*#batch s d"],
    value: Float[Tensor, "*#batch s e"],
    mask: Bool[Tensor, "*#batch #l #s"] | None = None,
    scale: Number | None = None,
) -> tuple[Float[Tensor, "... l e"], Float[Tensor, "... l s"]]:
    """Attention: softmax(Q Kᵀ / √d) V, and the weights that it took.

    Args:
        query, key, value: finite numbers. Leading dimensions (batch, heads) are broadcast.
        mask: True where a query may attend to a key; broadcast likewise.
        scale: factor of the dot products; 1 / √d if none is given.

    Returns:
        The output and the weights. Each row of weights sums to 1; the row of a query that may
        attend to nothing, or that finds no keys, is 0, and so is its output.

    Raises:
        ValueError: if sizes do not fit, `mask` is not boolean, or numbers are not finite.

    Source: Vaswani et al., 2017, equation 1; the mask: section 3.2.3.

    >>> value = torch.tensor([[1.0], [5.0]])
    >>> allowed = torch.tensor([[True, False], [True, True], [False, False]])
    >>> output, weights = scaled_dot_product_attention(
    ...     torch.zeros(3, 4), torch.ones(2, 4), value, allowed
    ... )
    >>> weights
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 0.0000]])
    >>> output[:, 0]
    tensor([1., 3., 0.])
    """
    scores = attention_scores(query, key, scale)
    if value.ndim < 2 or value.shape[-2] != key.shape[-2]:
        raise ValueError(
            f"value has shape {list(value.shape)}: one row for each of {key.shape[-2]} keys is "
            "needed"
        )
    _check_broadcast(scores.shape[:-2], value.shape[:-2], "value")
    _check_finite(value, "value")
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        if mask.dtype != torch.bool:
            raise ValueError(f"mask has dtype {mask.dtype}: bool is needed")
        _check_broadcast(scores.shape, mask.shape, "mask")
        masked = scores.masked_fill(~mask, -math.inf)
        nothing_allowed = ~mask.any(dim=-1, keepdim=True)
        weights = masked.softmax(dim=-1).masked_fill(nothing_allowed, 0.0)
    return weights @ value, weights


@dataclass(frozen=True)
class SeMaps:
    """The gates of squeeze-and-excitation, in (0, 1)."""

    channel: Float[Tensor, "n c"]


@dataclass(frozen=True)
class SeParts:
    """What squeeze-and-excitation computes on its way, r = c / reduction.

    Attributes:
        pooled: mean of each channel over all places (the squeeze).
        hidden: after the first layer and ReLU.
        gate: after the second layer and the sigmoid (the excitation), in (0, 1).
        output: the features, each channel times its gate.
    """

    pooled: Float[Tensor, "n c"]
    hidden: Float[Tensor, "n r"]
    gate: Float[Tensor, "n c"]
    output: Float[Tensor, "n c h w"]


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation: weighs the channels by what all places together say.

    [n, c, h, w] -> mean over places [n, c] -> linear, ReLU [n, c/r] -> linear, sigmoid [n, c]
    -> each channel times its gate [n, c, h, w]. No biases: 2 c²/r parameters.

    Args:
        channels: c, at least 1.
        reduction: r, at least 1; the hidden layer has ⌊c/r⌋ units, but at least one.

    Raises:
        ValueError: if an argument is below 1.

    Source: Hu et al., "Squeeze-and-Excitation Networks", 2018, equations 2 to 4.

    >>> SqueezeExcitation(channels=32)(torch.ones(1, 32, 7, 7)).shape
    torch.Size([1, 32, 7, 7])
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = _hidden_units(channels, reduction)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The re-weighted features.

        Raises:
            ValueError: if `x` has another number of channels, no place, or infinite numbers.
        """
        return se_parts(self, x).output

    def maps(self, x: Float[Tensor, "n c h w"]) -> SeMaps:
        """The gates; errors as in `forward`."""
        return SeMaps(channel=se_parts(self, x).gate)


def se_parts(module: SqueezeExcitation, x: Float[Tensor, "n c h w"]) -> SeParts:
    """All that a squeeze-and-excitation module computes.

    Raises:
        ValueError: if `x` has another number of channels, no place, or infinite numbers.

    Source: Hu et al., 2018: equation 2 (pooled), 3 (hidden, gate), 4 (output).

    >>> module = SqueezeExcitation(channels=4, reduction=2)
    >>> _ = torch.nn.init.zeros_(module.expand.weight)
    >>> se_parts(module, torch.ones(1, 4, 2, 2)).gate
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]], grad_fn=<SigmoidBackward0>)
    """
    _check_features(x, "x", module.reduce.in_features)
    pooled = x.mean(dim=(2, 3))
    hidden = module.reduce(pooled).relu()
    gate = module.expand(hidden).sigmoid()
    return SeParts(pooled, hidden, gate, output=x * gate[:, :, None, None])


@dataclass(frozen=True)
class CbamMaps:
    """The gates of CBAM, in (0, 1)."""

    channel: Float[Tensor, "n c"]
    spatial: Float[Tensor, "n 1 h w"]


@dataclass(frozen=True)
class CbamParts:
    """What CBAM computes on its way. The gates and paths of a part that is left out are ones.

    Attributes:
        channel: the channel gate, σ(MLP(average) + MLP(maximum)), in (0, 1).
        channel_average, channel_maximum: what either path alone would give, σ(MLP(·)).
        spatial: the spatial gate, in (0, 1).
        spatial_average, spatial_maximum: mean and maximum over the channels of the features that
            the spatial part sees (or would see); the spatial gate reads nothing else.
        output: the features times both gates.
    """

    channel: Float[Tensor, "n c"]
    channel_average: Float[Tensor, "n c"]
    channel_maximum: Float[Tensor, "n c"]
    spatial: Float[Tensor, "n 1 h w"]
    spatial_average: Float[Tensor, "n 1 h w"]
    spatial_maximum: Float[Tensor, "n 1 h w"]
    output: Float[Tensor, "n c h w"]


class CBAM(nn.Module):
    """Convolutional block attention module: weighs the channels, then the places.

    Channels: mean and maximum over places [n, c], each through one shared MLP (linear, ReLU,
    linear), summed, sigmoid. Places: mean and maximum over channels [n, 2, h, w], one convolution
    with zeros around the border, sigmoid. No biases: 2 c²/r + 2 k² parameters.

    Args:
        channels: c, at least 1.
        reduction: r, at least 1; the MLP's hidden layer has ⌊c/r⌋ units, but at least one.
        kernel_size: k of the convolution, odd.

    Raises:
        ValueError: if an argument is below 1 or `kernel_size` is even.

    Source: Woo et al., "CBAM: Convolutional Block Attention Module", 2018, equations 1 to 3.

    >>> gates = CBAM(channels=32).maps(torch.ones(1, 32, 7, 7))
    >>> gates.channel.shape, gates.spatial.shape
    (torch.Size([1, 32]), torch.Size([1, 1, 7, 7]))
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__()
        hidden = _hidden_units(channels, reduction)
        _check_kernel_size(kernel_size)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The re-weighted features.

        Raises:
            ValueError: if `x` has another number of channels, no place, or infinite numbers.
        """
        return cbam_parts(self, x).output

    def maps(self, x: Float[Tensor, "n c h w"]) -> CbamMaps:
        """The gates; errors as in `forward`."""
        parts = cbam_parts(self, x)
        return CbamMaps(channel=parts.channel, spatial=parts.spatial)

    def mlp(self, pooled: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
        """The two layers that the average and the maximum share."""
        scores: Tensor = self.expand(self.reduce(pooled).relu())
        return scores


def cbam_parts(
    module: CBAM,
    x: Float[Tensor, "n c h w"],
    order: Order = "channel_first",
    channel: bool = True,
    spatial: bool = True,
) -> CbamParts:
    """All that a CBAM module computes, in either order and with either part left out.

    Args:
        module: its weights stay as they were trained, whatever the order.
        x: the features.
        order: which part comes first; the paper's choice is "channel_first".
        channel, spatial: whether each part takes place.

    Raises:
        ValueError: if `x` has another number of channels, no place, or infinite numbers, or
            `order` is none of the two.

    Source: Woo et al., 2018, equations 1 to 3; the order: section 4.1 and table 3.

    >>> parts = cbam_parts(CBAM(channels=4), torch.ones(1, 4, 2, 2), channel=False)
    >>> parts.channel, parts.spatial_average.flatten()
    (tensor([[1., 1., 1., 1.]]), tensor([1., 1., 1., 1.]))
    """
    _check_features(x, "x", module.reduce.in_features)
    if order not in ("channel_first", "spatial_first"):
        raise ValueError(f'order is {order!r}: "channel_first" or "spatial_first" is needed')
    if order == "channel_first":
        by_channel = _channel_gates(module, x, channel)
        features = x * by_channel[0][:, :, None, None]
        by_place = _spatial_gates(module, features, spatial)
        output = features * by_place[0]
    else:
        by_place = _spatial_gates(module, x, spatial)
        features = x * by_place[0]
        by_channel = _channel_gates(module, features, channel)
        output = features * by_channel[0][:, :, None, None]
    return CbamParts(*by_channel, *by_place, output)


def _channel_gates(module: CBAM, x: Tensor, takes_place: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The gate, and what its average and its maximum path would give alone."""
    if not takes_place:
        ones = x.new_ones(x.shape[:2])
        return ones, ones, ones
    average = module.mlp(x.mean(dim=(2, 3)))
    maximum = module.mlp(x.amax(dim=(2, 3)))
    return (average + maximum).sigmoid(), average.sigmoid(), maximum.sigmoid()


def _spatial_gates(module: CBAM, x: Tensor, takes_place: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The gate, and the two maps that it is made from."""
    average = x.mean(dim=1, keepdim=True)
    maximum = x.amax(dim=1, keepdim=True)
    if not takes_place:
        return torch.ones_like(average), average, maximum
    return module.conv(torch.cat([average, maximum], dim=1)).sigmoid(), average, maximum


def non_local(
    features: Float[Tensor, "n c h w"], scaled: bool = False
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n places places"]]:
    """A non-local block without weights: every place adds what resembles it.

    z_i = x_i + Σ_j softmax_j(x_iᵀ x_j) x_j over all places j, row by row: the Gaussian version
    with g and W_z the identity. Nothing in it is trained.

    Args:
        features: finite numbers. Dot products of long vectors make softmax all but a choice of
            one.
        scaled: divide the dot products by √c, as self-attention does and this version of the
            paper does not.

    Returns:
        The features with what was gathered added, and the weights of place j (last) for place i.

    Raises:
        ValueError: if `features` have no channel or place, or numbers are not finite.

    Source: Wang et al., "Non-local Neural Networks", 2018, equations 1, 2 and 6.

    >>> output, weights = non_local(torch.tensor([[[[0.0, 0.0]]]]))
    >>> weights
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    _check_features(features, "features")
    places = features.flatten(2).transpose(1, 2)
    scale = 1 / math.sqrt(features.shape[1]) if scaled else 1.0
    gathered, weights = scaled_dot_product_attention(places, places, places, scale=scale)
    return features + gathered.transpose(1, 2).reshape(features.shape), weights


def rollout(attention: Float[Tensor, "layers heads t t"]) -> Float[Tensor, "t t"]:
    """How much of each input token reaches each token after the last layer.

    Args:
        attention: weights of all layers, from the first; not negative. Rows sum to 1.

    Returns:
        Shares: row i is what token i is made from, and sums to 1.

    Raises:
        ValueError: as `rollout_by_layer` does.

    Source: Abnar & Zuidema, "Quantifying Attention Flow in Transformers", 2020, section 3.

    >>> rollout(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    return rollout_by_layer(attention)[-1]


def rollout_by_layer(
    attention: Float[Tensor, "layers heads t t"],
) -> Float[Tensor, "layers t t"]:
    """Attention rollout up to each layer: of the first layer, of the first two, and so on.

    The heads are averaged; half of every token passes by the layer through the residual
    connection, so A becomes 0.5 A + 0.5 I; rows are brought back to 1; the layers are multiplied.

    Args:
        attention: weights of all layers, from the first; not negative.

    Raises:
        ValueError: if there is no layer, head or token, or a weight is negative or not finite.

    Source: Abnar & Zuidema, 2020, section 3, equation 1.

    >>> rollout_by_layer(torch.full((3, 1, 2, 2), 0.5))[:, 0]
    tensor([[0.7500, 0.2500],
            [0.6250, 0.3750],
            [0.5625, 0.4375]])
    """
    _check_weights(attention, ndim=4)
    mixed = attention.mean(dim=1) + torch.eye(
        attention.shape[-1], dtype=attention.dtype, device=attention.device
    )
    mixed = mixed / mixed.sum(dim=-1, keepdim=True)
    reached = [mixed[0]]
    for layer in mixed[1:]:
        reached.append(layer @ reached[-1])
    return torch.stack(reached)


def mean_attention_distance(
    attention: Float[Tensor, "... t t"], rows: int, columns: int, class_token: bool = True
) -> Float[Tensor, "..."]:
    """How far, on average, the patches look: a receptive field's size for each head.

    The distance between the centres of the query's patch and of each patch, weighed by the
    attention that it gets (itself included, at distance 0), averaged over all queries. The class
    token is left out, and what is left of each row is brought back to 1; a row that gave all to
    the class token counts as 0.

    Args:
        attention: weights of any number of heads or layers of heads; not negative.
        rows, columns: the grid of patches, which lie row by row.
        class_token: whether a class token lies before the patches.

    Returns:
        Distances in patches, one for each head.

    Raises:
        ValueError: if t is not the number of tokens, there is no patch, or a weight is negative
            or not finite.

    Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 4.5, figure 7
    (right) and its appendix on attention distance.

    >>> next_one = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    >>> mean_attention_distance(next_one, rows=1, columns=3, class_token=False)
    tensor([1.])
    """
    _check_weights(attention, ndim=2)
    tokens = rows * columns + class_token
    if rows < 1 or columns < 1 or attention.shape[-1] != tokens:
        raise ValueError(
            f"rows, columns is {rows}, {columns}: a grid of at least one patch is needed that, "
            f"with the class token if there is one, makes {attention.shape[-1]} tokens"
        )
    first = int(class_token)
    between_patches = attention[..., first:, first:]
    total = between_patches.sum(dim=-1)
    y = torch.arange(rows, device=attention.device, dtype=attention.dtype)
    x = torch.arange(columns, device=attention.device, dtype=attention.dtype)
    centres = torch.cartesian_prod(y, x)
    distance: Tensor = torch.linalg.vector_norm(centres[:, None] - centres, dim=-1)
    weighed = torch.einsum("...ij,ij->...i", between_patches, distance)
    return (weighed / total.where(total > 0, 1.0)).mean(dim=-1)


def principal_colours(tokens: Float[Tensor, "p d"]) -> Float[Tensor, "p 3"]:
    """The three directions in which tokens differ most, as red, green and blue.

    Like features get like colours. The sign of a component is free; here the largest of its
    loadings is positive, so that the same tokens always get the same colours.

    Args:
        tokens: features of p tokens, finite.

    Returns:
        Each component scaled from its least to its greatest value, 0 to 1; 0.5 where tokens do not
        differ (there are fewer than three components, or rounding alone makes them differ).

    Raises:
        ValueError: if a feature is not finite.

    Source: principal component analysis; as a picture of a transformer's features: Oquab et al.,
    "DINOv2", 2023, figure 1 (there after removing the background).

    >>> principal_colours(torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]))
    tensor([[0.0000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000],
            [1.0000, 0.5000, 0.5000]])
    """
    _check_finite(tokens, "tokens")
    colours = tokens.new_full((len(tokens), 3), 0.5)
    if tokens.numel() == 0:
        return colours
    centred = tokens - tokens.mean(dim=0)
    _, strength, loadings = torch.linalg.svd(centred, full_matrices=False)
    largest = loadings.gather(1, loadings.abs().argmax(dim=1, keepdim=True))
    directions = (loadings * largest.sign())[:3]
    components = centred @ directions.T
    least, greatest = components.aminmax(dim=0)
    rounding = torch.finfo(tokens.dtype).eps * max(tokens.shape) * tokens.abs().amax()
    differ = strength[:3] > rounding * math.sqrt(len(tokens))
    scaled = (components - least) / (greatest - least).where(differ, 1.0)
    colours[:, : scaled.shape[1]] = scaled.where(differ, 0.5)
    return colours


@dataclass(frozen=True)
class Cost:
    """What a mechanism costs for one feature map."""

    parameters: int
    multiply_adds: int


def attention_cost(
    mechanism: Mechanism,
    channels: int,
    height: int,
    width: int,
    reduction: int = 16,
    kernel_size: int = 7,
) -> Cost:
    """Parameters and multiply-adds of an attention mechanism on one feature map.

    Counted are the products in linear layers, convolutions and matrix products, and the product of
    every feature with a gate; a product and the sum it goes into are one. Not counted are pooling,
    activations, softmax and the residual sum. Biases and normalization are left out.

    Args:
        mechanism: "se", "cbam", "non_local" (as `non_local` does it, without weights), or
            "embedded_non_local": θ, φ and g are 1x1 convolutions to c/2 channels, and a fourth
            leads back.
        channels, height, width: of the feature map, at least 1.
        reduction: of SE and CBAM.
        kernel_size: of CBAM's convolution, odd.

    Raises:
        ValueError: if `mechanism` is unknown or a number is out of its range.

    Source: Hu et al., 2018, section 4 (2 c²/r parameters); Woo et al., 2018, section 3; Wang et
    al., 2018, section 3.3.

    >>> attention_cost("se", channels=96, height=14, width=14)
    Cost(parameters=1152, multiply_adds=19968)
    """
    for name, number in (("channels", channels), ("height", height), ("width", width)):
        _check_at_least_one(number, name)
    _check_kernel_size(kernel_size)
    hidden = _hidden_units(channels, reduction)
    places = height * width
    features, mlp = channels * places, 2 * channels * hidden
    half = max(channels // 2, 1)
    match mechanism:
        case "se":
            return Cost(mlp, mlp + features)
        case "cbam":
            kernel = 2 * kernel_size**2
            return Cost(mlp + kernel, 2 * mlp + kernel * places + 2 * features)
        case "non_local":
            return Cost(0, 2 * channels * places**2)
        case "embedded_non_local":
            projections = 4 * channels * half
            return Cost(projections, projections * places + 2 * half * places**2)
        case _:
            raise ValueError(
                f"mechanism is {mechanism!r}: se, cbam, non_local or embedded_non_local is needed"
            )


def _hidden_units(channels: int, reduction: int) -> int:
    _check_at_least_one(channels, "channels")
    _check_at_least_one(reduction, "reduction")
    return max(channels // reduction, 1)


def _check_at_least_one(number: int, name: str) -> None:
    if number < 1:
        raise ValueError(f"{name} is {number}: at least 1 is needed")


def _check_kernel_size(kernel_size: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: an odd number is needed")


def _check_features(x: Tensor, name: str, channels: int | None = None) -> None:
    if x.ndim != 4 or 0 in x.shape[1:] or x.shape[1] != (channels or x.shape[1]):
        raise ValueError(
            f"{name} has shape {list(x.shape)}: [n, {channels or 'c'}, h, w] with at least one "
            "channel and place is needed"
        )
    _check_finite(x, name)


def _check_broadcast(expected: torch.Size, shape: torch.Size, name: str) -> None:
    from_the_last = zip(reversed(expected), reversed(shape), strict=False)
    if any(a != b and 1 not in (a, b) for a, b in from_the_last):
        raise ValueError(
            f"{name} has sizes {list(shape)} where {list(expected)} are needed, or 1 in their place"
        )


def _check_finite(values: Tensor, name: str) -> None:
    if not values.isfinite().all():
        raise ValueError(f"{name} has infinite or undefined numbers: finite ones are needed")


def _check_weights(attention: Tensor, ndim: int) -> None:
    square = attention.ndim >= ndim and attention.shape[-1] == attention.shape[-2]
    if not square or 0 in attention.shape:
        raise ValueError(
            f"attention has shape {list(attention.shape)}: square maps of at least one token are "
            "needed"
        )
    least, most = attention.aminmax()
    if not (least >= 0 and most < math.inf):  # NaN is neither
        raise ValueError("attention has a weight that is negative or not finite")
