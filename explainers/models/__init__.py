"""Trained networks: each function returns one in eval mode, with the weights that are shipped."""

from explainers.models.attended_mobilenet_v2 import attended_mobilenet_v2
from explainers.models.fashion_teacher import fashion_teacher
from explainers.models.mobilenet_v2 import mobilenet_v2
from explainers.models.selfie_segmentation import selfie_segmentation
from explainers.models.ssd_mobilenet_v2 import ssd_mobilenet_v2
from explainers.models.vit_s14 import vit_s14

__all__ = [
    "attended_mobilenet_v2",
    "fashion_teacher",
    "mobilenet_v2",
    "selfie_segmentation",
    "ssd_mobilenet_v2",
    "vit_s14",
]
