"""A stage with 20,000 boxes, which a slider colours and hides."""

import numpy as np

from figures.stage import Boxes
from ui.live.slider import live_slider
from ui.live.stage import stage
from ui.samples import DEFAULT, sample

COUNT, POSITIONS = 20_000, 51

photo = sample(DEFAULT)
random = np.random.default_rng(0)
centre = random.uniform((0, 0), (photo.width, photo.height), (COUNT, 2))
half = random.choice([8, 16, 32, 64, 128], (COUNT, 1)) * random.uniform(0.4, 0.6, (COUNT, 2))
boxes = Boxes(
    "boxes",
    np.concatenate([centre - half, centre + half], axis=1),
    palette=("#009E73", "#D55E00", "#999999"),
    category=random.choice(3, (POSITIONS, COUNT), p=[0.1, 0.1, 0.8]),
    slider="position",
    crowd_opacity=0.6,
)
live_slider("Position", range(POSITIONS), 0, key="position")
stage(photo, [boxes], key="stage", label="20,000 boxes")
