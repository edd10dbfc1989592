"""Trained networks: each function returns one in eval mode, with the weights that are shipped."""

from explainers.models.ssd_mobilenet_v2 import ssd_mobilenet_v2

__all__ = ["ssd_mobilenet_v2"]
