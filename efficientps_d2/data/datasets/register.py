"""Registration of panoptic datasets: built in, in folders, and anywhere else."""

import difflib
import json
import os
from collections.abc import Callable
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES

from efficientps_d2.data.coco_panoptic import IGNORE_LABEL, make_records, read_json, set_classes
from efficientps_d2_runtime.errors import InputError

SETTINGS = "prepare.json"  # in the folder of a dataset that `prepare` wrote
# Folders that it adds to the splits of a dataset, for the metrics of its publisher.
EXTRAS = {"pastis": "void", "semantic_kitti": "point_labels"}


def dataset_metadata(name: str) -> Metadata:
    """Metadata of a panoptic dataset, after checking that its files are there.

    Raises:
        InputError: if the name is unknown, a file is missing, or the dataset is not panoptic.
    """
    if name not in DatasetCatalog.list():
        register_dataset_folders()
    if name not in DatasetCatalog.list():
        raise InputError(unknown_dataset(name))
    metadata = MetadataCatalog.get(name)
    if metadata.get("class_loader"):
        metadata.class_loader()
    if metadata.get("panoptic_json") is None or metadata.get("stuff_classes") is None:
        raise InputError(f'"{name}" has no panoptic annotations; name a panoptic dataset.')
    return metadata


def unknown_dataset(name: str) -> str:
    """What to say about a name that no dataset has."""
    known = DatasetCatalog.list()
    splits = [other for other in known if other.rpartition("_")[0] == name]
    if close := splits or difflib.get_close_matches(name, known, 1, cutoff=0.85):
        return f'There is no dataset "{name}"; give {" or ".join(close)}.'
    prepared = Path(datasets_root(), name.rpartition("_")[0], SETTINGS)
    if prepared.is_file() and not [*prepared.parent.glob("*/panoptic.json")]:
        return f"{prepared.parent} is not prepared completely; run its `prepare` again."
    return (
        f'There is no dataset "{name}"; make the folder {os.path.abspath(datasets_root())}/'
        "NAME/SPLIT with images/, panoptic/ and panoptic.json for a dataset NAME_SPLIT, set "
        "DETECTRON2_DATASETS to another folder of datasets, or call register_panoptic_dataset."
    )


def check_dataset_files(name: str) -> None:
    """Fail with one sentence if the files of a dataset are missing or cannot be loaded."""
    metadata = dataset_metadata(name)
    for key in ("image_root", "panoptic_root", "panoptic_json"):
        path = metadata.get(key)
        if not os.path.exists(path):
            raise InputError(
                f'Dataset "{name}" has no {path}; put the data there, or set the environment '
                "variable DETECTRON2_DATASETS to the folder that holds it."
            )
    if not name.startswith("cityscapes_fine_panoptic"):
        return
    if "." in metadata.image_root:
        raise InputError(
            f'The path {metadata.image_root} of dataset "{name}" contains a dot, which the '
            "Cityscapes loader of Detectron2 cannot handle; set DETECTRON2_DATASETS to a path "
            "without one, for instance a symbolic link."
        )
    if next(Path(metadata.gt_dir).glob("*/*_labelTrainIds.png"), None) is None:
        raise InputError(
            f"{metadata.gt_dir} has no *_labelTrainIds.png; make them with "
            "csCreateTrainIdLabelImgs of cityscapesscripts."
        )


def register_panoptic_dataset(
    name: str, image_root: str, panoptic_root: str, panoptic_json: str
) -> None:
    """Register any data in COCO's panoptic format; all metadata come from the JSON.

    Args:
        name: name for ``DATASETS.TRAIN`` and ``DATASETS.TEST``.
        image_root: folder of the images; ``images[].file_name`` is relative to it, with any suffix.
        panoptic_root: folder of the panoptic PNGs.
        panoptic_json: COCO-panoptic JSON with images, annotations and categories.

    Raises:
        InputError: if the name is taken, the JSON is missing or damaged, or a category lacks an id
            or a name. Nothing is registered then.
    """
    if name in DatasetCatalog.list():
        raise InputError(f'A dataset "{name}" is registered already; choose another name.')
    _register(name, str(image_root), str(panoptic_root), str(panoptic_json))
    try:
        MetadataCatalog.get(name).class_loader()
    except InputError:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
        raise


def register_dataset_folders(root: str | None = None) -> list[str]:
    """Register every ``ROOT/NAME/SPLIT/`` with ``images/``, ``panoptic/`` and ``panoptic.json``.

    ``root`` is ``$DETECTRON2_DATASETS``, or ``datasets``, if not given. The JSON is read when the
    dataset is first used. Returns the names ``NAME_SPLIT`` found; known names stay as they are.
    """
    names = []
    for panoptic_json in sorted(Path(root or datasets_root()).glob("*/*/panoptic.json")):
        folder = panoptic_json.parent
        name = f"{folder.parent.name}_{folder.name}"
        names.append(name)
        if name not in DatasetCatalog.list():
            _register(name, str(folder / "images"), str(folder / "panoptic"), str(panoptic_json))
            if extra := EXTRAS.get(prepared_as(folder.parent)):
                MetadataCatalog.get(name).set(**{f"{extra}_root": str(folder / extra)})
    return names


def register_cityscapes_layout(name: str, root: str, split: str) -> None:
    """Register data in the Cityscapes layout at any path, with Cityscapes' 19 classes.

    Needs ``root/leftImg8bit/SPLIT``, ``root/gtFine/SPLIT`` and the panoptic files that
    cityscapesscripts' ``createPanopticImgs`` makes.
    """
    image_root = os.path.join(root, "leftImg8bit", split)
    panoptic_root = os.path.join(root, "gtFine", f"cityscapes_panoptic_{split}")

    _register(
        name,
        image_root,
        panoptic_root,
        f"{panoptic_root}.json",
        cityscapes_image_file,
        evaluator_type="cityscapes_panoptic_seg",
    )
    metadata = MetadataCatalog.get(name)
    metadata.gt_dir = os.path.join(root, "gtFine", split)
    set_classes(metadata, CITYSCAPES_CATEGORIES)


def cityscapes_image_file(image: dict) -> str:
    """Path of an image in ``leftImg8bit/SPLIT``, from its entry in Cityscapes' panoptic JSON."""
    # The file names in that JSON do not exist on disk; the ids tell them.
    return os.path.join(str(image["id"]).split("_")[0], f"{image['id']}_leftImg8bit.png")


def datasets_root() -> str:
    """The folder of all datasets: ``$DETECTRON2_DATASETS``, or ``datasets``."""
    return os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))


def read_settings(folder: Path) -> dict:
    """What `prepare` notes about a folder that it wrote; empty of other folders."""
    try:
        content = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def prepared_as(folder: Path) -> str | None:
    """The name under which `prepare` knows what a folder holds; None of other folders."""
    return read_settings(folder).get("dataset")


def _register(
    name: str,
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    image_file: Callable[[dict], str] = lambda image: image["file_name"],
    evaluator_type: str = "coco_panoptic_seg",
) -> None:
    """Register records and metadata; both read the JSON only when they are asked for."""
    metadata = MetadataCatalog.get(name)

    def load_classes():
        if metadata.get("stuff_classes") is None:
            set_classes(metadata, read_json(panoptic_json)["categories"], panoptic_json)

    def load_records():
        content = read_json(panoptic_json)
        if metadata.get("stuff_classes") is None:
            set_classes(metadata, content["categories"], panoptic_json)
        return make_records(content, metadata, image_file)

    DatasetCatalog.register(name, load_records)
    metadata.set(
        image_root=image_root,
        panoptic_root=panoptic_root,
        panoptic_json=panoptic_json,
        class_loader=load_classes,
        evaluator_type=evaluator_type,
        ignore_label=IGNORE_LABEL,
        label_divisor=1000,
    )
