"""Datasets that are registered on import, as Detectron2's own are.

Your own need no code: what lies in DETECTRON2_DATASETS is registered by name (register.py).
"""

import os

from efficientps_d2.data.datasets.register import datasets_root, register_cityscapes_layout

for _split in ("train", "val"):
    _root = os.path.join(datasets_root(), "streets")
    register_cityscapes_layout(f"streets_{_split}", _root, _split)
