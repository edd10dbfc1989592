"""Train the attention of assets/weights/attention_mobilenet_v2.safetensors.

`python -m tools.train_attention FOLDER` reads every photo under FOLDER, holds a quarter of them
out, and trains CBAM and SE in the frozen MobileNetV2 to keep, on photos hidden in clutter, what the
network itself says about the photo alone. It prints what they reach on the photos held out.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from explainers.attention_maps import CBAM
from explainers.clutter import SIDE, hide
from explainers.models.attended_mobilenet_v2 import AttendedMobileNetV2
from explainers.models.imagenet import normalize
from explainers.models.mobilenet_v2 import mobilenet_v2
from explainers.models.shipped import FOLDER

LONGEST = 512  # side of a photo in pixels
HELD_OUT = 0.25
CLEAN = 0.1  # share of the training pictures in which nothing is hidden
BATCH = 32
LEARNING_RATE = 1e-2
CONVOLUTION_RATE = 5  # times that, for CBAM's convolution


@dataclass(frozen=True)
class Examples:
    """What the module sees and what shall come out, cached: [n, 320, 7, 7] and [n, 1000].

    Attributes:
        features: half precision.
        boxes: where the photo is hidden, [n, 4]; the whole picture where it is clean.
    """

    features: Tensor
    logits: Tensor
    boxes: Tensor


def read_photos(folder: Path) -> list[Tensor]:
    photos = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}:
            with Image.open(path) as image:
                image = image.convert("RGB")
                image.thumbnail((LONGEST, LONGEST))
                photos.append(torch.from_numpy(np.array(image)))
    return photos


def examples(
    photos: list[Tensor], rounds: int, clean_share: float, generator: torch.Generator
) -> Examples:
    """Hide every photo `rounds` times, each time in clutter made from another one."""
    plain = AttendedMobileNetV2(mobilenet_v2(), "none").eval().requires_grad_(False)
    parts = []
    for turn in range(rounds):
        inputs, targets, boxes = [], [], []
        for place, photo in enumerate(photos):
            step = int(torch.randint(1, len(photos), (), generator=generator))
            hidden = hide(photo, photos[(place + step) % len(photos)], generator)
            if torch.rand((), generator=generator) < clean_share:
                inputs.append(hidden.clean)
                boxes.append((0, 0, SIDE, SIDE))
            else:
                inputs.append(hidden.picture)
                boxes.append(hidden.box)
            targets.append(hidden.clean)
        with torch.inference_mode():
            features = [plain.features_before(some) for some in batches(inputs)]
            logits = [plain(some) for some in batches(targets)]
        parts.append((torch.cat(features).half(), torch.cat(logits), torch.tensor(boxes)))
        print(f"  {turn + 1}/{rounds} rounds of {len(photos)} photos", flush=True)
    return Examples(*(torch.cat(column) for column in zip(*parts, strict=True)))


def batches(images: list[Tensor]) -> list[Tensor]:
    pictures = torch.stack(images).movedim(-1, 1).float()
    channels_last = normalize(pictures).contiguous(memory_format=torch.channels_last)
    return list(channels_last.split(16))


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target ‖ prediction) in nats, mean over the batch."""
    return functional.kl_div(
        logits.log_softmax(1), target.log_softmax(1), log_target=True, reduction="batchmean"
    )


def train(kind: str, data: Examples, held_out: Examples, epochs: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = AttendedMobileNetV2(mobilenet_v2(), kind).eval()
    attention = network.attention
    nn.init.zeros_(attention.expand.weight)  # all gates ½: the network starts as it was
    groups = [{"params": [attention.reduce.weight, attention.expand.weight], "lr": LEARNING_RATE}]
    if isinstance(attention, CBAM):
        nn.init.zeros_(attention.conv.weight)
        rate = LEARNING_RATE * CONVOLUTION_RATE
        groups.append({"params": [attention.conv.weight], "lr": rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    steps = len(data.logits) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=epochs * steps, pct_start=0.1
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        losses = []
        order = torch.randperm(len(data.logits), generator=generator)
        for chosen in order[: steps * BATCH].split(BATCH):
            loss = divergence(
                network.logits_after(data.features[chosen].float()), data.logits[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        loss = torch.stack(losses).mean()
        print(f"{kind} epoch {epoch + 1}/{epochs}: loss {loss:.3f}, {report(network, held_out)}")
    return attention


@torch.inference_mode()
def report(network: AttendedMobileNetV2, data: Examples) -> str:
    logits = network.logits_after(data.features.float())
    target = data.logits.argmax(1, keepdim=True)
    top1 = (logits.argmax(1, keepdim=True) == target).float().mean()
    top5 = (logits.topk(5).indices == target).any(1).float().mean()
    line = f"KL {divergence(logits, data.logits):.3f}, top-1 {top1:.1%}, in top-5 {top5:.1%}"
    anything_hidden = bool((data.boxes[:, 2] - data.boxes[:, 0] < SIDE).any())
    if isinstance(network.attention, CBAM) and anything_hidden:
        line += f", found {found(network.attention, data):.3f}"
    return line


def found(attention: CBAM, data: Examples) -> float:
    """How often a place in the hidden photo has a wider open gate than one in the clutter."""
    gates = attention.maps(data.features.float()).spatial[:, 0]
    rows, columns = gates.shape[1:]
    y, x = (((torch.arange(n) + 0.5) * SIDE / n)[None] for n in (rows, columns))
    x1, y1, x2, y2 = data.boxes.T[:, :, None]
    inside = ((y > y1) & (y < y2))[:, :, None] & ((x > x1) & (x < x2))[:, None]
    shares = [
        (gate[within][:, None] > gate[~within]).float().mean()
        for gate, within in zip(gates, inside, strict=True)
        if not within.all()
    ]
    return float(torch.stack(shares).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="photos, in any folders below it")
    parser.add_argument("--rounds", type=int, default=30, help="how often each photo is hidden")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=FOLDER / "attention_mobilenet_v2.safetensors")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    started = time.monotonic()
    photos = read_photos(options.folder)
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.randperm(len(photos), generator=generator).tolist()
    held_photos = [photos[i] for i in order[: round(HELD_OUT * len(photos))]]
    train_photos = [photos[i] for i in order[len(held_photos) :]]
    print(f"{len(train_photos)} photos to train on, {len(held_photos)} held out")
    held_out = examples(held_photos, 10, 0.0, generator)
    alone = examples(held_photos, 2, 1.0, generator)
    data = examples(train_photos, options.rounds, CLEAN, generator)
    print(f"features cached after {time.monotonic() - started:.0f} s")

    weights = {}
    plain = AttendedMobileNetV2(mobilenet_v2(), "none")
    lines = [f"none: {report(plain, held_out)}"]
    for kind in ("se", "cbam"):
        attention = train(kind, data, held_out, options.epochs, options.seed)
        weights |= {f"{kind}.{name}": weight for name, weight in attention.state_dict().items()}
        network = AttendedMobileNetV2(mobilenet_v2(), kind)
        network.attention = attention
        lines.append(f"{kind}: {report(network, held_out)}; alone: {report(network, alone)}")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, options.out)
    print("\nheld out")
    print("\n".join(lines))
    print(f"{time.monotonic() - started:.0f} s in all")


if __name__ == "__main__":
    main()
