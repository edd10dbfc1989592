"""The vision transformer against the outputs of the network that its weights come from."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from explainers.models.imagenet import crop_box, imagenet_input
from explainers.models.shipped import load_weights
from explainers.models.vit_s14 import (
    VisionAttention,
    VisionTransformer,
    attend,
    attention_scores,
    attention_weights,
    grid_of,
    vit_s14,
)

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "vit_s14.json").read_text())


@pytest.fixture(scope="module")
def network() -> VisionTransformer:
    return vit_s14()


@pytest.fixture(scope="module")
def in_the_middle(network: VisionTransformer) -> dict[str, VisionAttention]:
    return {photo: attend(network, pixels(photo), whole=False) for photo in GOLDEN["photos"]}


def pixels(photo: str) -> Tensor:
    return torch.from_numpy(np.array(Image.open(PHOTOS / photo).convert("RGB")))


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_class_token_is_the_golden_one(
    in_the_middle: dict[str, VisionAttention], photo: str
) -> None:
    expected = GOLDEN["photos"][photo]
    token = in_the_middle[photo].tokens[0]
    first_eight = torch.tensor(expected["first_eight"])
    assert_close(token[:8], first_eight, atol=GOLDEN["token_tolerance"], rtol=0)
    cosine = functional.cosine_similarity(token[:8], first_eight, dim=0)
    assert cosine > GOLDEN["token_cosine"]
    assert token.norm().item() == pytest.approx(expected["norm"], rel=0.001)


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_attention_of_the_class_token_is_the_golden_one(
    in_the_middle: dict[str, VisionAttention], photo: str
) -> None:
    expected, tolerance = GOLDEN["photos"][photo], GOLDEN["weight_tolerance"]
    to_itself, *to_patches = attention_weights(in_the_middle[photo], 11)[:, 0].mean(dim=0).tolist()
    best, second = expected["best_patch"], expected["second_patch"]
    gap = expected["best_weight"] - expected["second_weight"]
    possible = {best} if gap > GOLDEN["certain_gap"] else {best, second}
    assert to_patches.index(max(to_patches)) in possible
    assert to_itself == pytest.approx(expected["to_itself"], abs=tolerance)
    assert to_patches[best] == pytest.approx(expected["best_weight"], abs=tolerance)
    assert to_patches[second] == pytest.approx(expected["second_weight"], abs=tolerance)


def test_photos_are_as_alike_as_they_were(in_the_middle: dict[str, VisionAttention]) -> None:
    tokens = torch.stack([in_the_middle[photo].tokens[0] for photo in GOLDEN["photos"]])
    cosines = functional.cosine_similarity(tokens[:, None], tokens[None], dim=-1)
    expected = torch.tensor(GOLDEN["pairwise_cosine"])
    assert_close(cosines, expected, atol=GOLDEN["cosine_tolerance"], rtol=0)


def test_middle_of_a_photo_is_read_on_sixteen_rows_and_columns(
    network: VisionTransformer, in_the_middle: dict[str, VisionAttention]
) -> None:
    attended = in_the_middle["coffee.jpg"]
    assert (attended.rows, attended.columns) == (16, 16)
    assert attended.extent == crop_box(400, 600)
    assert attended.tokens.shape == (257, 384)
    assert attended.queries.shape == attended.keys.shape == (12, 6, 257, 64)
    assert attended.tokens.dtype == attended.queries.dtype == torch.float32
    assert_close(attended.tokens, network(imagenet_input(pixels("coffee.jpg")))[0])


@pytest.mark.parametrize("layer", [0, 11])
def test_attention_is_torchs(
    network: VisionTransformer, in_the_middle: dict[str, VisionAttention], layer: int
) -> None:
    ours = network.blocks[layer].attn
    theirs = nn.MultiheadAttention(384, 6, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    tokens = in_the_middle["chelsea.jpg"].tokens[None]
    output, queries, keys = ours(tokens)
    expected, weights = theirs(tokens, tokens, tokens, average_attn_weights=False)
    assert_close(output, expected, atol=1e-4, rtol=1e-4)
    of_all_layers = (heads.expand(12, -1, -1, -1) for heads in (queries, keys))
    alone = VisionAttention(tokens[0], *of_all_layers, 16, 16, (0.0, 0.0, 1.0, 1.0))
    assert_close(attention_weights(alone, layer), weights[0], atol=1e-5, rtol=1e-4)


def test_weights_are_the_softmax_of_the_scores(in_the_middle: dict[str, VisionAttention]) -> None:
    attended = in_the_middle["pisa.jpg"]
    scores, weights = attention_scores(attended, 5), attention_weights(attended, 5)
    assert scores.shape == weights.shape == (6, 257, 257)
    head, source, target = 2, 7, 100
    product = attended.queries[5, head, source] @ attended.keys[5, head, target] / 8
    assert scores[head, source, target].item() == pytest.approx(product.item(), abs=1e-4)
    assert_close(weights.sum(dim=-1), torch.ones(6, 257))
    assert_close(
        weights.log() - weights.log()[..., :1], scores - scores[..., :1], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("layer", [-1, 12])
def test_layers_end_at_eleven(in_the_middle: dict[str, VisionAttention], layer: int) -> None:
    with pytest.raises(ValueError, match="layer"):
        attention_scores(in_the_middle["pisa.jpg"], layer)
    with pytest.raises(ValueError, match="layer"):
        attention_weights(in_the_middle["pisa.jpg"], layer)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [
        ((512, 512), (16, 16)),
        ((427, 640), (13, 19)),
        ((640, 427), (19, 13)),
        ((1080, 1920), (12, 21)),
        ((1, 1), (16, 16)),
        ((30, 1000), (4, 64)),
        ((1000, 30), (64, 4)),
    ],
)
def test_grid_follows_the_photo(shape: tuple[int, int], grid: tuple[int, int]) -> None:
    assert grid_of(*shape) == grid


def test_grid_is_large_and_stretches_little() -> None:
    for width in range(100, 1400, 7):
        rows, columns = grid_of(100, width)
        assert 200 <= rows * columns <= 256
        assert min(rows, columns) >= 4
        if width < 400:
            assert columns / rows == pytest.approx(width / 100, rel=0.15)


@pytest.mark.parametrize("shape", [(0, 4), (4, -1)])
def test_grid_needs_a_photo(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="height and width"):
        grid_of(*shape)


@pytest.mark.parametrize("shape", [(1, 1), (30, 1000), (1000, 30), (427, 640)])
@pytest.mark.parametrize("whole", [True, False])
def test_any_photo_is_read(network: VisionTransformer, shape: tuple[int, int], whole: bool) -> None:
    height, width = shape
    attended = attend(network, torch.full((height, width, 3), 70, dtype=torch.uint8), whole)
    assert (attended.rows, attended.columns) == (grid_of(height, width) if whole else (16, 16))
    assert attended.extent == ((0, 0, width, height) if whole else crop_box(height, width))
    t = 1 + attended.rows * attended.columns
    assert attended.tokens.shape == (t, 384)
    assert attended.queries.shape == attended.keys.shape == (12, 6, t, 64)
    assert attended.tokens.isfinite().all()


def test_patches_are_ordered_by_row(network: VisionTransformer) -> None:
    picture = torch.zeros(1, 3, 3 * 14, 5 * 14)
    picture[..., 14:28, 56:70] = 1  # row 1, column 4
    empty, shown = (network.patch_embed(x)[0] for x in (torch.zeros_like(picture), picture))
    differs = (empty != shown).any(dim=-1).nonzero().flatten()
    assert differs.tolist() == [1 * 5 + 4]


def test_positions_are_those_of_the_file(network: VisionTransformer) -> None:
    weights = load_weights("vit_s14")
    assert_close(network.positions(37, 37), weights["pos_embed_37"], atol=1e-5, rtol=0)
    assert_close(network.positions(16, 16), weights["pos_embed"], atol=2e-4, rtol=0)


def test_positions_of_other_grids_lie_where_they_belong(network: VisionTransformer) -> None:
    rows, columns = 12, 21
    trained, other = network.positions(37, 37)[0, 1:], network.positions(rows, columns)[0, 1:]
    nearest = torch.cdist(other, trained).argmin(dim=1)
    row = (torch.arange(rows) + 0.5).repeat_interleave(columns) / rows * 37 - 0.5
    column = (torch.arange(columns) + 0.5).repeat(rows) / columns * 37 - 0.5
    assert ((nearest // 37 - row).abs() <= 1.01).all()
    assert ((nearest % 37 - column).abs() <= 1.01).all()


def test_weights_are_quantized_row_by_row(network: VisionTransformer) -> None:
    weight = network.blocks[3].mlp.fc2.weight
    whole_numbers = weight / (weight.abs().amax(dim=1, keepdim=True) / 127)
    assert_close(whole_numbers, whole_numbers.round(), atol=2e-3, rtol=0)
    assert sum(p.numel() for p in network.parameters()) == 22_056_192
    assert all(p.dtype == torch.float32 for p in network.parameters())
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_a_batch_is_its_pictures_one_by_one(network: VisionTransformer) -> None:
    pictures = torch.rand(2, 3, 56, 84, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([network(picture[None]) for picture in pictures])
    assert network(pictures).shape == (2, 25, 384)
    assert_close(network(pictures), alone, atol=1e-4, rtol=1e-4)


def test_runs_the_same_on_every_device(network: VisionTransformer, device: torch.device) -> None:
    image = pixels("coffee.jpg")
    here, there = (
        attend(network, image),
        attend(copy.deepcopy(network).to(device), image.to(device)),
    )
    assert there.tokens.device.type == there.keys.device.type == device.type
    assert_close(there.tokens.cpu(), here.tokens, atol=0.1, rtol=0)
    weights = attention_weights(there, 11).cpu()
    assert_close(weights, attention_weights(here, 11), atol=0.01, rtol=0)


def test_double_precision_agrees() -> None:
    x = torch.rand(1, 3, 56, 84, generator=torch.Generator().manual_seed(0))
    assert_close(vit_s14().double()(x.double()), vit_s14()(x).double(), atol=1e-3, rtol=1e-3)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 1, 28, 28), (1, 3, 0, 28), (1, 3, 28, 30)])
def test_other_shapes_are_refused(network: VisionTransformer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="x must have the shape"):
        network(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("whole", [True, False])
def test_a_photo_without_pixels_is_refused(network: VisionTransformer, whole: bool) -> None:
    with pytest.raises(ValueError, match="image"):
        attend(network, torch.zeros(0, 4, 3, dtype=torch.uint8), whole)


def test_threads_share_one_network(network: VisionTransformer) -> None:
    images = [pixels(photo)[::4, ::4] for photo in ("chelsea.jpg", "coffee.jpg")] * 2
    alone = [attend(network, image) for image in images[:2]] * 2
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda image: attend(network, image), images))
    for one, other in zip(alone, together, strict=True):
        assert_close(one.tokens, other.tokens)
        assert_close(one.queries, other.queries)
