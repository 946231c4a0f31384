"""PASTIS: agricultural parcels in time series of Sentinel-2, in five folds.

The 38 to 61 dates of a patch become the medians of its four seasons: 40 bands, those of winter
first. Parcels of 18 crops are things; what is no parcel is the stuff "Background".
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.data.datasets.published import (
    DAMAGE,
    LARGEST_NUMBER,
    VOID,
    Extra,
    Frame,
    Labels,
    Published,
    label_table,
    look_up,
    require,
)
from efficientps_d2.data.datasets.register import EXTRAS
from efficientps_d2.data.text_files import load_json
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import DAMAGED

TITLE = "PASTIS"
FOLDS = (1, 2, 3, 4, 5)
BANDS = 10
# The months of December to February, March to May and so on, of any year.
SEASONS = ((12, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11))
VOID_LABEL = 19  # of parcels that lie mostly outside of their patch
METADATA, DATES = "metadata.geojson", "dates-S2"
CURE = f"unpack {TITLE}.zip again"

_CLASSES = (  # in the order of the publisher's ids
    ("Background", (0, 0, 0)),
    ("Meadow", (174, 199, 232)),
    ("Soft winter wheat", (255, 127, 14)),
    ("Corn", (255, 187, 120)),
    ("Winter barley", (44, 160, 44)),
    ("Winter rapeseed", (152, 223, 138)),
    ("Spring barley", (214, 39, 40)),
    ("Sunflower", (255, 152, 150)),
    ("Grapevine", (148, 103, 189)),
    ("Beet", (197, 176, 213)),
    ("Winter triticale", (140, 86, 75)),
    ("Winter durum wheat", (196, 156, 148)),
    ("Fruits, vegetables, flowers", (227, 119, 194)),
    ("Potatoes", (247, 182, 210)),
    ("Leguminous fodder", (127, 127, 127)),
    ("Soybeans", (199, 199, 199)),
    ("Orchard", (188, 189, 34)),
    ("Mixed cereal", (219, 219, 141)),
    ("Sorghum", (23, 190, 207)),
)
CATEGORIES = [
    {"id": i, "name": name, "isthing": int(i > 0), "color": list(color)}
    for i, (name, color) in enumerate(_CLASSES)
]
TABLE = label_table({**{i: i for i in range(len(CATEGORIES))}, VOID_LABEL: VOID})


def is_pastis(source: Path) -> bool:
    return (source / METADATA).is_file() and (source / "DATA_S2").is_dir()


def open_pastis(source: Path) -> Published:
    """The patches of each fold; training begins with folds 1 to 3 and is tested on fold 4."""
    file = require(source / METADATA, TITLE, CURE)
    content, splits, names = load_json(file), {f"fold{fold}": [] for fold in FOLDS}, set()
    try:
        for feature in content["features"]:
            patch = feature["properties"]
            name, fold = str(int(patch["ID_PATCH"])), patch["Fold"]
            if name in names:
                raise ValueError(f"patch {name} twice")
            names.add(name)
            splits[f"fold{fold:d}"].append(_frame(source, name, _months(patch[DATES])))
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{file} is damaged ({error!r}): its features need ID_PATCH, Fold from 1 to 5 and "
            f"{DATES}; {CURE}."
        ) from error
    if missing := [fold for fold, frames in splits.items() if not frames]:
        raise InputError(f"{file} lists no patch of {missing[0]}; {CURE}.")
    return Published(
        TITLE,
        CATEGORIES,
        splits,
        read_labels,
        make_image=read_medians,
        suffix=".npy",
        extra=Extra(EXTRAS["pastis"], ".png", write_void),
        train=("fold1", "fold2", "fold3"),
        test=("fold4",),
    )


def _months(dates: dict | str) -> tuple[int, ...]:
    """Of the dates of a patch, 1 to 12, in the order of its time series."""
    dates = json.loads(dates) if isinstance(dates, str) else dates
    months = tuple(int(dates[key]) // 100 % 100 for key in sorted(dates, key=int))
    if not all(1 <= month <= 12 for month in months):
        raise ValueError(f"dates {dates}")
    return months


def _frame(source: Path, name: str, months: tuple[int, ...]) -> Frame:
    image = require(source / "DATA_S2" / f"S2_{name}.npy", TITLE, CURE)
    target = require(source / "ANNOTATIONS" / f"TARGET_{name}.npy", TITLE, CURE)
    parcels = source / "INSTANCE_ANNOTATIONS" / f"INSTANCES_{name}.npy"
    return Frame(name, image, target, months, (parcels,))


def read_medians(frame: Frame) -> np.ndarray:
    """(H, W, 40) medians of the seasons of a patch, whose notes are the months of its dates.

    They are int16, as the time series, or float32 with NaN where a season has no date.
    """
    series, months = _load(frame.image), np.array(frame.notes)
    if series.ndim != 4 or series.shape[:2] != (len(months), BANDS) or 0 in series.shape:
        raise InputError(
            f"{frame.image} has the shape {series.shape}, but {METADATA} lists {len(months)} dates "
            f"of {BANDS} bands; {CURE}."
        )
    medians = []
    for season in SEASONS:
        dates = np.isin(months, season)
        none = np.full(series.shape[1:], np.nan, np.float32)
        medians.append(np.median(series[dates], axis=0) if dates.any() else none)
    bands = np.concatenate(medians).transpose(1, 2, 0)
    fits = np.isfinite(bands).all() and np.abs(bands).max() < 2**15 - 1
    return bands.round().astype(np.int16) if fits else bands.astype(np.float32)


def read_labels(frame: Frame) -> Labels:
    """Of arrays: the first layer of TARGET has the classes, INSTANCES the parcels from 1."""
    classes, parcels = _maps(frame)
    return Labels(look_up(classes, TABLE, frame.ground_truth, TITLE), parcels)


def write_void(frame: Frame, file: Path) -> None:
    """A 16-bit PNG of the numbers of the void parcels, 0 elsewhere."""
    classes, parcels = _maps(frame)
    void = np.where(classes == VOID_LABEL, parcels, 0)
    Image.fromarray(void.astype(np.uint16)).save(file, format="PNG")


def _maps(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    file = require(frame.others[0], TITLE, CURE)
    target, parcels = _load(frame.ground_truth), _load(file)
    classes = target[0] if target.ndim == 3 else target
    if classes.shape != parcels.shape or classes.ndim != 2 or 0 in classes.shape:
        raise InputError(
            f"{file} has the shape {parcels.shape}, but {frame.ground_truth} {target.shape}; "
            f"{CURE}."
        )
    for array, source in ((classes, frame.ground_truth), (parcels, file)):
        if not (np.isfinite(array).all() and (array == np.floor(array)).all()):
            raise InputError(f"{source} holds other values than whole numbers; {CURE}.")
    low, high = int(parcels.min()), int(parcels.max())
    if low < 0 or high > LARGEST_NUMBER:
        raise InputError(
            f"{file} numbers a parcel {low if low < 0 else high}, but a panoptic PNG has room for "
            f"0 to {LARGEST_NUMBER}; number them anew in each patch."
        )
    return classes.astype(np.int64), parcels.astype(np.int64)


def _load(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except DAMAGED as error:
        raise InputError(f"{file} is damaged, or no array; {CURE}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise InputError(f"{file} holds no array of numbers; {CURE}.")
    return array
