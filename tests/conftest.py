"""Small synthetic panoptic datasets and configs; no downloads, no GPU."""

import gc
import logging
import os
import shutil
import signal
import urllib.request
import warnings
from pathlib import Path

# The models are tiny: threads only cost, above all when the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Of this machine, not of its users: commands would write in another order.
os.environ.pop("PYTHONUNBUFFERED", None)

import hypothesis
import pytest
import torch

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

from detectron2.config import CfgNode  # noqa: E402
from detectron2.data import MetadataCatalog  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from project import CONFIGS, KEEN  # noqa: E402
from scenes import register_dataset, unregister, write_dataset  # noqa: E402

from efficientps_d2 import save_model  # noqa: E402
from efficientps_d2.config.loading import load_config  # noqa: E402
from efficientps_d2.data.classes import with_class_counts  # noqa: E402

hypothesis.settings.register_profile("any machine", deadline=None)  # however busy it is
hypothesis.settings.load_profile("any machine")
os.fsync = lambda descriptor: None  # what tests write need not outlive the machine
gc.freeze()  # what is imported stays: collections need not look at it, and forks not copy it


def pytest_collection_modifyitems(items):
    """Those that take minutes come first, so that no process waits for another at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_tutorial.py", "test_notebook.py"))


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
    """Register datasets for one test only."""
    names = []

    def register(name: str, folder: Path) -> str:
        names.append(name)
        register_dataset(name, folder)
        return name

    yield register
    for name in names:
        unregister(name)


@pytest.fixture
def toy(tmp_path, register) -> str:
    """A registered dataset of three images, 96 x 160, two stuff and two thing classes."""
    return register("toy", write_dataset(tmp_path / "toy"))


@pytest.fixture
def tiny_config(tmp_path):
    """A function that makes the config of a model small enough for tests."""

    def tiny_config(name: str, *overrides, config: str = "efficientps_streets"):
        cfg = load_config(
            str(CONFIGS / f"{config}.yaml"),
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
    return build_model(tiny_config(toy, *KEEN)).eval()


@pytest.fixture
def model_folder(tmp_path, toy, tiny_config, keen_model) -> Path:
    """Saved with thresholds at which the untrained model says something."""
    cfg = tiny_config(toy, *KEEN)
    metadata = MetadataCatalog.get(toy)
    return save_model(tmp_path / "model", keen_model, with_class_counts(cfg), metadata)


@pytest.fixture
def small_config(toy):
    """A function that makes a config of this project, of any network, small enough for tests."""

    def small_config(name: str, *overrides) -> CfgNode:
        keys = [
            *("MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", ""),
            *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 32),
            *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
            *("MODEL.LPSNET.CONV_DIM", 16, "DATASETS.TRAIN", (toy,), "DATASETS.TEST", (toy,)),
        ]
        return with_class_counts(load_config(name, [*keys, *overrides]))

    return small_config


@pytest.fixture
def stock_config(small_config) -> CfgNode:
    """Panoptic FPN of Detectron2's own parts, which keep no mask logits."""
    return small_config(
        "panoptic_fpn_streets",
        *("MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead"),
        *("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0, "TEST.DETECTIONS_PER_IMAGE", 5),
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


@pytest.fixture(scope="session")
def storage_endpoint():
    """The address of a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with urllib.request.urlopen(address, timeout=300):  # the first answer imports much
        pass
    yield address
    server.stop()


@pytest.fixture
def object_storage(storage_endpoint, monkeypatch):
    """Object storage with the empty buckets ``bucket`` and ``results``, which commands find."""
    from pyarrow import fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", storage_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    storage = fs.S3FileSystem(
        endpoint_override=storage_endpoint,
        region="eu-central-1",
        allow_bucket_creation=True,
        request_timeout=60,
    )
    for name in ("bucket", "results"):
        storage.create_dir(name)
        storage.delete_dir_contents(name)
    return storage


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
