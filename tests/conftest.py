"""Small synthetic panoptic data sets and configs; no downloads, no GPU."""

import importlib.util
import json
import os
import shutil
import signal
import warnings
from pathlib import Path

# The models are tiny: threads only cost, above all when the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

from detectron2.config import CfgNode  # noqa: E402
from detectron2.data import DatasetCatalog, MetadataCatalog  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from panopticapi.utils import id2rgb  # noqa: E402

from efficientps_d2 import register_panoptic_dataset, save_model  # noqa: E402
from efficientps_d2.config.loading import load_config  # noqa: E402
from efficientps_d2.data.classes import with_class_counts  # noqa: E402

CONFIGS = Path(__file__).parent.parent / "configs"
ROOT = Path(__file__).parent.parent


def load_tool(name: str):
    """A script of tools/, or demo.py, as a module."""
    file = ROOT / ("" if name == "demo" else "tools") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Names tell the kind: things and stuff in every order that data sets come in.
CLASS_ORDERS = {
    "things_last": ["road", "sky", "car*", "person*"],
    "things_first": ["car*", "person*", "road", "sky"],
    "mixed": ["road", "car*", "sky", "person*"],
}


def make_categories(order: list[str]) -> list[dict]:
    # Dataset ids are neither contiguous nor sorted.
    ids = [26, 7, 103, 11, 40, 5]
    return [
        {"id": ids[i], "name": name.rstrip("*"), "isthing": int(name.endswith("*"))}
        for i, name in enumerate(order)
    ]


def draw_scene(rng: np.random.Generator, categories: list[dict], size: tuple[int, int]):
    """A panoptic map of sky over road, some overlapping cars and people, and a void stripe."""
    height, width = size
    ids = {c["name"]: c["id"] for c in categories}
    pan_seg = np.zeros(size, dtype=np.int64)
    pan_seg[: height // 2] = 1
    pan_seg[height // 2 :] = 2
    categories_of = {1: ids["sky"], 2: ids["road"]}
    for i in range(int(rng.integers(2, 5))):
        segment = 70000 + 300 * i  # needs all three bytes of the PNG
        h, w = rng.integers(height // 4, height // 2), rng.integers(width // 5, width // 3)
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        pan_seg[y : y + h, x : x + w] = segment
        categories_of[segment] = ids["car"] if i % 2 == 0 else ids["person"]
    pan_seg[:, -3:] = 0
    segments = [
        {
            "id": segment,
            "category_id": category,
            "area": int((pan_seg == segment).sum()),
            "iscrowd": 0,
        }
        for segment, category in categories_of.items()
        if (pan_seg == segment).any()
    ]
    return pan_seg, segments


def write_dataset(
    folder: Path, order: str = "things_last", count: int = 3, size=(96, 160), more_classes=()
) -> Path:
    """Write a COCO-panoptic folder with images of sub-folders and different suffixes."""
    rng = np.random.default_rng(5)
    categories = make_categories([*CLASS_ORDERS[order], *more_classes])
    palette = {c["id"]: rng.integers(0, 255, 3) for c in categories}
    content = {"images": [], "annotations": [], "categories": categories}
    (folder / "images" / "sub").mkdir(parents=True)
    (folder / "panoptic").mkdir()
    for i in range(count):
        pan_seg, segments = draw_scene(rng, categories, size)
        image = rng.integers(0, 60, (*size, 3))
        for segment in segments:
            image[pan_seg == segment["id"]] += palette[segment["category_id"]]
        name = f"sub/picture.{i}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        Image.fromarray(id2rgb(pan_seg)).save(folder / "panoptic" / f"truth_{i}.png")
        content["images"].append(
            {"id": f"i{i}", "file_name": name, "height": size[0], "width": size[1]}
        )
        content["annotations"].append(
            {"image_id": f"i{i}", "file_name": f"truth_{i}.png", "segments_info": segments}
        )
    (folder / "panoptic.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(autouse=True)
def signals_as_before():
    """A handler that stays is inherited by the forked pools of later tests, which then hang."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    left = {number: signal.getsignal(number) for number in before}
    for number, handler in before.items():
        signal.signal(number, handler)
    if left[signal.SIGINT] == signal.default_int_handler:  # asyncio leaves Python's own
        left[signal.SIGINT] = before[signal.SIGINT]
    assert left == before


@pytest.fixture
def register():
    """Register data sets for one test only."""
    names = []

    def register(name: str, folder: Path) -> str:
        names.append(name)
        register_panoptic_dataset(
            name, folder / "images", folder / "panoptic", folder / "panoptic.json"
        )
        return name

    yield register
    for name in names:
        unregister(name)


def unregister(name: str) -> None:
    """Forget a data set, also those that Detectron2's evaluators derive from it."""
    for derived in ("", "_things", "_sem_seg"):
        if name + derived in DatasetCatalog.list():
            DatasetCatalog.remove(name + derived)
        MetadataCatalog.pop(name + derived, None)


@pytest.fixture
def toy(tmp_path, register) -> str:
    """A registered data set of three pictures, 96 x 160, two stuff and two thing classes."""
    return register("toy", write_dataset(tmp_path / "toy"))


@pytest.fixture
def tiny_config(tmp_path):
    """A function that makes the config of a model small enough for tests."""

    def tiny_config(name: str, *overrides):
        cfg = load_config(
            str(CONFIGS / "efficientps_streets.yaml"),
            [
                *("MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", ""),
                *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 16),
                *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
                *("DATASETS.TRAIN", (name,), "DATASETS.TEST", (name,)),
                *("INPUT.CROP.SIZE", (64, 96), "SOLVER.IMS_PER_BATCH", 2),
                *("DATALOADER.NUM_WORKERS", 0, "OUTPUT_DIR", str(tmp_path / "output")),
                *overrides,
            ],
        )
        return cfg

    return tiny_config


@pytest.fixture
def keen_model(toy, tiny_config):
    """A model of random weights that detects something everywhere."""
    torch.manual_seed(0)
    model = build_model(
        tiny_config(
            toy,
            *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
            *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0),
            *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 1),
        )
    )
    return model.eval()


@pytest.fixture
def model_folder(tmp_path, toy, tiny_config, keen_model) -> Path:
    """Saved with thresholds at which the untrained model says something."""
    cfg = tiny_config(
        toy,
        *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
        *("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.0),
        *("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 1),
    )
    metadata = MetadataCatalog.get(toy)
    return save_model(tmp_path / "model", keen_model, with_class_counts(cfg), metadata)


@pytest.fixture
def stock_config(toy) -> CfgNode:
    """Panoptic FPN of Detectron2's own parts, which a config for comparison has."""
    return with_class_counts(
        load_config(
            str(CONFIGS / "panoptic_fpn_streets.yaml"),
            [
                *("MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", ""),
                *("MODEL.FPN.OUT_CHANNELS", 32, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32),
                *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
                *("DATASETS.TRAIN", (toy,), "DATASETS.TEST", (toy,)),
                *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 5),
            ],
        )
    )


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; its tests are left out where it is not installed, but never in CI."""
    found = shutil.which("chromedriver")
    if not found:
        message = "needs Chromium and ChromeDriver, for instance: apt install chromium-driver"
        (pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip)(message)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found))
    yield driver
    driver.quit()


@pytest.fixture(
    scope="module", params=["efficientps_cityscapes_official", "efficientps_cityscapes"]
)
def converted(request, tmp_path_factory):
    """The authors' network in both of its forms, and what its checkpoint becomes here.

    The tests of a module that uses it run without gradients.
    """
    from converted import Converted

    with torch.no_grad():
        yield Converted(request.param, tmp_path_factory.mktemp(request.param))
