"""A folder with a trained model, which is all that anyone needs to predict elsewhere."""

import difflib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from torch import nn

from efficientps_d2.checkpoint.hub import fetch_model, is_hub_name
from efficientps_d2.checkpoint.weights_file import write_weights
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.coco_panoptic import categories_of, read_json, set_classes
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.utils.shipped import shipped_folder, shipped_models
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

WEIGHTS, CONFIG, METADATA = FILES = ("model.safetensors", "config.yaml", "metadata.json")
EARLIER_WEIGHTS = "model.pth"  # of models that were saved before, which are still read
DEMO_MODEL = Path("output/streets/model")  # which `make demo` leaves


class SavedModel(NamedTuple):
    """Config and metadata of a folder; ``cfg.MODEL.WEIGHTS`` is its file of weights."""

    cfg: CfgNode
    metadata: Metadata


def save_model(
    folder: str | Path, model: nn.Module, cfg: CfgNode, metadata: Metadata, half: bool = False
) -> Path:
    """Write ``model.safetensors``, ``config.yaml`` and ``metadata.json``.

    Args:
        folder: made if needed; files of an earlier model in it are replaced.
        model: a :class:`PanopticSegmentor`, also a distributed one.
        cfg: the config that it was built with.
        metadata: of its dataset: class names, colours and dataset ids.
        half: write float16, in half the bytes; it is computed with in float32 all the same.

    Returns:
        The folder.

    Raises:
        InputError: for the form of a network that only predicts.
    """
    model = getattr(model, "module", model)
    if getattr(model, "is_optimized", False):
        raise InputError(
            "This network was optimized for inference, which changes its weights, and cannot be "
            "saved; load it with optimize=False."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cfg = cfg.clone()
    cfg.defrost()
    # What is only for training, or names files that are not in the folder.
    cfg.MODEL.WEIGHTS = cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.OUTPUT_DIR, cfg.OUTPUT_MIRROR = "output", ""
    state = model.state_dict()
    if half:
        state = {k: x.half() if x.dtype == torch.float32 else x for k, x in state.items()}
    write_weights(folder / WEIGHTS, state)
    classes = json.dumps({"categories": categories_of(metadata)}, indent=1)
    for name, content in ((CONFIG, cfg.dump()), (METADATA, classes)):
        with replacing_file(folder / name) as partial:
            partial.write_text(content, encoding="utf-8")
    (folder / EARLIER_WEIGHTS).unlink(missing_ok=True)  # of another network by now
    return folder


def read_saved_model(folder: str | Path | None, overrides: list[str] | None = None) -> SavedModel:
    """Read what :func:`save_model` wrote.

    Args:
        folder: by default that of the model that ``make demo`` leaves. A name of
            :func:`shipped_models` is that of a model that comes with this project, "user/name" one
            of the Hugging Face hub, unless such a folder holds a model.
        overrides: of the config, alternating keys and values.

    Raises:
        InputError: if a file is missing or damaged.
    """
    if "MODEL.WEIGHTS" in (overrides or [])[::2]:
        raise InputError("--opts MODEL.WEIGHTS needs --config-file; a saved model has its own.")
    if folder is None and not DEMO_MODEL.is_dir():
        raise InputError(f"{DEMO_MODEL} does not exist; run make demo, or give --model DIR.")
    name = folder.as_posix() if isinstance(folder, Path) else str(folder or DEMO_MODEL)
    folder = Path(name)
    if not (folder / CONFIG).is_file() and name in shipped_models():
        folder = shipped_folder("models") / name
    elif not folder.exists() and is_hub_name(name):
        folder = fetch_model(name, (*FILES, EARLIER_WEIGHTS))
    if folder.suffix == ".onnx" and folder.is_file():
        raise InputError(f"{folder} is an exported network; run it by efficientps-d2-run.")
    if not folder.is_dir():
        raise InputError(_no_folder(name))
    weights = folder / WEIGHTS
    if not weights.is_file() and (folder / EARLIER_WEIGHTS).is_file():
        weights = folder / EARLIER_WEIGHTS
    files = (weights, folder / CONFIG, folder / METADATA)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {' and no '.join(missing)}; give the folder of a saved model, for "
            "instance model/ in the OUTPUT_DIR of a training."
        )
    cfg = load_config(str(folder / CONFIG), overrides, inside=str(folder))
    content = read_json(folder / METADATA, ("categories",))
    metadata = Metadata(name=str(folder))
    set_classes(metadata, content["categories"], str(folder / METADATA))
    if metadata.stuff_classes != list(cfg.MODEL.EFFICIENTPS.CLASS_NAMES):
        raise InputError(
            f"{folder / METADATA} and {folder / CONFIG} list different classes; copy all files of "
            "the model again."
        )
    cfg.MODEL.WEIGHTS = str(weights)
    return SavedModel(cfg, metadata)


def _no_folder(name: str) -> str:
    """What to say of a name that is neither that of a folder nor of a model that comes along."""
    if Path(name).exists():
        return f"{name} is a file; give the folder of a saved model."
    models = shipped_models()
    along = f"come along: {', '.join(models)}"
    if close := difflib.get_close_matches(name.lower(), models, 1):
        return f"{name} does not exist; did you mean {close[0]}, which comes along?"
    return f"{name} does not exist; give the folder of a saved model, or one of those that {along}."


def metadata_of(cfg: CfgNode) -> Metadata:
    """Metadata of the dataset of a config; names of the config, chosen colours if it is not here.

    Raises:
        InputError: if the config names neither a dataset nor classes.
    """
    names, things = cfg.MODEL.EFFICIENTPS.CLASS_NAMES, cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS
    for dataset in cfg.DATASETS.TEST[:1]:
        try:
            metadata = dataset_metadata(dataset)
        except InputError:
            if not names:
                raise
        else:
            if metadata.stuff_classes == names or not names:
                return metadata
    if not names:
        raise InputError("The config names neither classes nor DATASETS.TEST; give a run's config.")
    metadata = Metadata(name="demo")
    categories = [{"id": i, "name": n, "isthing": int(i in things)} for i, n in enumerate(names)]
    set_classes(metadata, categories)
    return metadata
