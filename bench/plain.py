"""The plainest way to say the same in torch, to see what an explainer costs beside it."""

import torch
from torch import Tensor

from explainers.surfaces import find_surface


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Every box with every other."""
    low = torch.maximum(boxes1[:, None, :2], boxes2[None, :, :2])
    high = torch.minimum(boxes1[:, None, 2:], boxes2[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(-1)
    area1, area2 = ((b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes1, boxes2))
    return inside / (area1[:, None] + area2 - inside)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Keep the best that is left, drop what overlaps it, again and again."""
    order, kept = scores.argsort(descending=True), []
    while len(order):
        kept.append(order[0])
        overlap = box_iou(boxes[order[:1]], boxes[order[1:]])[0]
        order = order[1:][overlap <= threshold]
    return torch.stack(kept)


def sweep_nms(boxes: Tensor, scores: Tensor, thresholds: Tensor) -> list[Tensor]:
    """One suppression after the other."""
    return [nms(boxes, scores, threshold) for threshold in thresholds.tolist()]


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v"""
    weights = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)
    return weights @ value


def trajectories(surface: str, starts: Tensor, steps: int, lr: float) -> Tensor:
    """torch's own Adam on all starts at once: the height's sum has each start's own slope."""
    point = starts.clone().requires_grad_()
    optimizer = torch.optim.Adam([point], lr=lr)
    visited = [starts]
    for _ in range(steps):
        optimizer.zero_grad()
        find_surface(surface)(point).sum().backward()
        optimizer.step()
        visited.append(point.detach().clone())
    return torch.stack(visited)
