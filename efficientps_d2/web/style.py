"""How page.js draws: as the pictures of efficientps-d2 predict."""

from efficientps_d2_runtime.drawing import EDGE, HATCH, LONG_SIDE

STYLE = {"edge": EDGE, "hatch": HATCH, "longSide": LONG_SIDE}
