from ui.live.stage import *  # noqa
from ui.live.stage import HIDDEN, Layer  # noqa
