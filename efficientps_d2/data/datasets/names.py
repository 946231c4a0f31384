"""The published datasets that ``efficientps-d2 prepare`` knows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from efficientps_d2.data.datasets.idd import is_idd, open_idd
from efficientps_d2.data.datasets.kitti import is_kitti, open_kitti
from efficientps_d2.data.datasets.pastis import is_pastis, open_pastis
from efficientps_d2.data.datasets.published import Published
from efficientps_d2.data.datasets.scannet import is_scannet, open_scannet
from efficientps_d2.data.datasets.semantic_kitti import (
    is_semantic_kitti,
    open_semantic_kitti,
)
from efficientps_d2.data.datasets.vistas import V1, V2, is_vistas, open_vistas
from efficientps_d2_runtime.errors import InputError


class Known(NamedTuple):
    """How a publisher's folder is recognised, and what reads it."""

    fits: Callable[[Path], bool]
    open: Callable[[Path], Published]


# A new dataset is a module with two such functions, and a line here. It is registered under its
# name here, and configs/efficientps_NAME.yaml trains on it.
PUBLISHED = {
    "kitti": Known(is_kitti, open_kitti),
    "vistas": Known(partial(is_vistas, V1), partial(open_vistas, V1)),
    "vistas_v2": Known(partial(is_vistas, V2), partial(open_vistas, V2)),
    "idd": Known(is_idd, open_idd),
    "scannet": Known(is_scannet, open_scannet),
    "scannet_depth": Known(is_scannet, partial(open_scannet, depth=True)),
    "pastis": Known(is_pastis, open_pastis),
    "semantic_kitti": Known(is_semantic_kitti, open_semantic_kitti),
}
# In whose images pixels without data are normal, as they are in scans.
WITH_HOLES = ("scannet_depth",)


def open_published(name: str, source: Path) -> Published:
    """The frames and classes of a dataset, by its name in :data:`PUBLISHED`.

    Raises:
        InputError: if the folder is another dataset, or lacks something.
    """
    if not source.is_dir():
        raise InputError(f"SOURCE {source} is no folder; give that of the unpacked archives.")
    fitting = published_as(source)
    if not PUBLISHED[name].fits(source) and fitting:
        raise InputError(f"{source} holds {fitting}, not {name}; prepare that.")
    return PUBLISHED[name].open(source)


def published_as(folder: Path) -> str | None:
    """The name of the dataset that a folder holds as its publisher packs it."""
    return next((name for name, known in PUBLISHED.items() if known.fits(folder)), None)
