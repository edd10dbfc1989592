"""A vision transformer, ViT-S/14 in the style of DINOv2: patches in, a feature of each patch out.

Sources: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1; Touvron et al.,
"Going Deeper with Image Transformers", 2021, section 2 (layer scale); Oquab et al., "DINOv2:
Learning Robust Visual Features without Supervision", 2023. Where the weights come from is told in
`assets/weights/README.md`.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from explainers.models.imagenet import crop_box, imagenet_input, normalize
from explainers.models.shipped import as_batch, load_weights, resize

PATCH = 14
"""Height and width of a patch in pixels."""

LAYERS, HEADS = 12, 6

MAX_PATCHES, MIN_SIDE = 256, 4
"""Of the grid that `attend` lays over a whole photo."""

_WIDTH = 384
_HEAD_WIDTH = _WIDTH // HEADS
_TRAINED_SIDE = 37  # patches along each side of the pictures in training


@dataclass(frozen=True)
class VisionAttention:
    """What the network computed on a photo.

    Token 0 is the class token; token 1 + row * columns + column is a patch; t = 1 + rows * columns.

    Attributes:
        tokens: the features after the last normalization.
        queries, keys: of all layers and heads, from which `attention_weights` come.
        rows, columns: of the grid of patches.
        extent: what the grid covers, corners (x1, y1, x2, y2) in pixels of the photo.
    """

    tokens: Float[Tensor, "t 384"]
    queries: Float[Tensor, "12 6 t 64"]
    keys: Float[Tensor, "12 6 t 64"]
    rows: int
    columns: int
    extent: tuple[float, float, float, float]


class _Attention(nn.Module):
    """Self-attention of six heads: [n, t, 384] -> [n, t, 384]."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.proj = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The output, and the queries and keys of the heads, [n, 6, t, 64] each."""
        by_head = self.qkv(x).unflatten(-1, (3, HEADS, _HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        queries, keys, values = by_head
        mixed = _scores(queries, keys).softmax(dim=-1) @ values
        return self.proj(mixed.transpose(1, 2).flatten(2)), queries, keys


class _Mlp(nn.Module):
    """Two layers on every token alone: [n, t, 384] -> [n, t, 1536] -> [n, t, 384]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(_WIDTH, 4 * _WIDTH)
        self.fc2 = nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        widened: Tensor = functional.gelu(self.fc1(x))
        narrowed: Tensor = self.fc2(widened)
        return narrowed


class _Block(nn.Module):
    """Attention, then the MLP, each on normalized tokens, scaled, and added: [n, t, 384] kept."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(_WIDTH, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = _Attention(), _Mlp()
        self.ls1, self.ls2 = (nn.Parameter(self.norm1.weight.new_ones(_WIDTH)) for _ in range(2))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens, and the queries and keys of the heads, [n, 6, t, 64] each."""
        attended, queries, keys = self.attn(self.norm1(tokens))
        tokens = tokens + self.ls1 * attended
        return tokens + self.ls2 * self.mlp(self.norm2(tokens)), queries, keys


class _PatchEmbedding(nn.Module):
    """Each patch of 14x14 pixels to a token: [n, 3, 14 rows, 14 columns] -> [n, t - 1, 384]."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, _WIDTH, PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.proj(x)
        return projected.flatten(2).mT


class VisionTransformer(nn.Module):
    """The network, for any grid of patches.

    | stage                         | output, for 224 x 224 pixels |
    |-------------------------------|------------------------------|
    | picture                       | 3 x 224 x 224                |
    | patch_embed                   | 256 x 384, a grid of 16 x 16 |
    | class token, positions        | 257 x 384                    |
    | blocks 0 to 11                | 257 x 384                    |
    |   norm1, attn.qkv             | 3 x 6 heads x 257 x 64       |
    |   scores, weights of a head   | 6 x 257 x 257                |
    |   attn.proj, ls1, added       | 257 x 384                    |
    |   norm2, mlp.fc1, GELU        | 257 x 1536                   |
    |   mlp.fc2, ls2, added         | 257 x 384                    |
    | norm                          | 257 x 384                    |

    The positions were trained on 37 x 37 patches and are interpolated to other grids. `forward`
    keeps nothing, so threads can share one network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbedding()
        self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(_WIDTH, eps=1e-6)
        zeros = self.norm.weight.new_zeros
        self.cls_token = nn.Parameter(zeros(1, 1, _WIDTH))
        self.pos_embed_37 = nn.Parameter(zeros(1, 1 + _TRAINED_SIDE**2, _WIDTH))

    def forward(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n t 384"]:
        """The features of the class token and of the patches, row by row.

        Args:
            x: pictures as `imagenet_input` returns them, of any size in whole patches.

        Raises:
            ValueError: if `x` has another number of dimensions or channels, or a side of it is no
                positive multiple of 14.
        """
        return self.trace(x)[0]

    def trace(self, x: Float[Tensor, "n 3 height width"]) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` returns, and the queries and keys of all layers.

        Args:
            x: as for `forward`.

        Returns:
            The tokens [n, t, 384]; the queries and the keys [n, 12, 6, t, 64].

        Raises:
            ValueError: as `forward` does.
        """
        if x.ndim != 4 or x.shape[1] != 3 or any(n == 0 or n % PATCH for n in x.shape[2:]):
            raise ValueError(
                f"x must have the shape (n, 3, {PATCH} * rows, {PATCH} * columns), "
                f"got {tuple(x.shape)}"
            )
        rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
        patches = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + self.positions(rows, columns)
        queries, keys = [], []
        for block in self.blocks:
            tokens, queries_here, keys_here = block(tokens)
            queries.append(queries_here)
            keys.append(keys_here)
        return self.norm(tokens), torch.stack(queries, dim=1), torch.stack(keys, dim=1)

    def positions(self, rows: int, columns: int) -> Float[Tensor, "1 t 384"]:
        """What is added to the tokens to tell where they lie.

        Args:
            rows, columns: of the grid, positive.
        """
        for_class, for_patches = self.pos_embed_37[:, :1], self.pos_embed_37[:, 1:]
        grid = for_patches.mT.reshape(1, _WIDTH, _TRAINED_SIDE, _TRAINED_SIDE)
        grid = functional.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([for_class, grid.flatten(2).mT], dim=1)


def vit_s14() -> VisionTransformer:
    """The network with its trained weights, ready to run.

    It takes Float[n, 3, 14 rows, 14 columns], RGB normalized by ImageNet's mean and deviation, such
    as `imagenet_input` returns, and returns the features of the class token and of all patches,
    Float[n, 1 + rows * columns, 384]. 22 million parameters, which need no gradient.

    >>> vit_s14()(torch.zeros(1, 3, 56, 70)).shape
    torch.Size([1, 21, 384])
    """
    with torch.device("meta"):  # names and shapes only: every value comes from the file
        network = VisionTransformer()
    network.load_state_dict(_dequantized(load_weights("vit_s14")), assign=True)
    return network.eval().requires_grad_(False)


def _dequantized(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whole numbers of -127 to 127 times the scale of their row; all else as it is."""
    ready = {}
    for name, weight in weights.items():
        if name.endswith(".int8"):
            name = name.removesuffix(".int8")
            scale = weights[f"{name}.scale"]
            ready[name] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        elif not name.endswith(".scale") and name != "pos_embed":  # interpolated anyway
            ready[name] = weight
    return ready


def attend(
    network: VisionTransformer, image: UInt8[Tensor, "height width 3"], whole: bool = True
) -> VisionAttention:
    """Run the network on a photo and keep what its attention is made of.

    Args:
        network: what `vit_s14` returned.
        image: RGB, 0 to 255, any size.
        whole: read the whole photo on the grid of `grid_of`, which stretches it a little; or its
            middle alone, as `imagenet_input` crops it, on a grid of 16 x 16.

    Raises:
        ValueError: if `image` is no picture of at least one pixel with three channels.

    >>> wide = torch.zeros(60, 120, 3, dtype=torch.uint8)
    >>> attended = attend(vit_s14(), wide)
    >>> attended.rows, attended.columns, attended.extent
    (11, 23, (0.0, 0.0, 120.0, 60.0))
    """
    batch = as_batch(image)
    height, width = batch.shape[2:]
    if whole:
        rows, columns = grid_of(height, width)
        x = normalize(resize(batch, rows * PATCH, columns * PATCH, "bicubic"))
        extent = (0.0, 0.0, float(width), float(height))
    else:
        x = imagenet_input(image)
        rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
        extent = crop_box(height, width)
    tokens, queries, keys = network.trace(x)
    return VisionAttention(tokens[0], queries[0], keys[0], rows, columns, extent)


def grid_of(height: int, width: int) -> tuple[int, int]:
    """The grid of at most 256 patches that stretches a photo least.

    Of the grids with at least four rows and as many columns as fit, the one nearest in aspect
    ratio; a photo more than 16 times as long as wide is squeezed.

    Args:
        height, width: of the photo in pixels, positive.

    Returns:
        Rows and columns.

    Raises:
        ValueError: if a side is not positive.

    >>> grid_of(427, 640), grid_of(512, 512)
    ((13, 19), (16, 16))
    """
    if height < 1 or width < 1:
        raise ValueError(f"height and width must be positive, got {height} and {width}")
    grids = [(rows, MAX_PATCHES // rows) for rows in range(MIN_SIDE, MAX_PATCHES // MIN_SIDE + 1)]
    return min(grids, key=lambda grid: abs(math.log(grid[1] * height / (grid[0] * width))))


def attention_scores(attended: VisionAttention, layer: int) -> Float[Tensor, "6 t t"]:
    """What each head's softmax is fed with: queries times keys over √64, [head, from, to].

    Args:
        attended: what `attend` returned.
        layer: 0 to 11.

    Raises:
        ValueError: if there is no such layer.

    Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> attention_scores(attend(vit_s14(), grey), layer=11).shape
    torch.Size([6, 248, 248])
    """
    if not 0 <= layer < LAYERS:
        raise ValueError(f"layer must lie in 0 to {LAYERS - 1}, got {layer}")
    return _scores(attended.queries[layer], attended.keys[layer])


def attention_weights(attended: VisionAttention, layer: int) -> Float[Tensor, "6 t t"]:
    """How much each token listens to every other, [head, from, to]; each row sums to 1.

    Args:
        attended: what `attend` returned.
        layer: 0 to 11.

    Raises:
        ValueError: if there is no such layer.

    Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> weights = attention_weights(attend(vit_s14(), grey), layer=0)
    >>> bool(torch.allclose(weights.sum(dim=-1), weights.new_tensor(1.0)))
    True
    """
    return attention_scores(attended, layer).softmax(dim=-1)


def _scores(queries: Tensor, keys: Tensor) -> Tensor:
    return queries @ keys.mT / math.sqrt(_HEAD_WIDTH)
