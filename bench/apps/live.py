"""The same page with the live slider and the live figure."""

from bench.apps.curve import FREQUENCIES, START, curve
from ui.live.figure import live_figure
from ui.live.slider import live_slider

frequency = live_slider("Frequency", FREQUENCIES, START, key="frequency")
live_figure(curve(frequency), key="curve", label="A sine curve")
