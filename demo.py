"""Predict images, a video or a camera; flags are those of Detectron2's own demo.

python demo.py --input street.jpg 'more/*.png' --output predicted/

The same as ``efficientps-d2 predict``.
"""

import sys

from efficientps_d2_cli.main import main_of

if __name__ == "__main__":
    sys.exit(main_of("predict", prog="demo.py"))
