"""Trained networks: each function returns one in eval mode, with the weights that are shipped."""

from explainers.models.mobilenet_v2 import mobilenet_v2
from explainers.models.ssd_mobilenet_v2 import ssd_mobilenet_v2

__all__ = ["mobilenet_v2", "ssd_mobilenet_v2"]
