"""Every shipped config builds a model whose parts are registered."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import META_ARCH_REGISTRY
from project import CONFIGS

from efficientps_d2 import (
    EfficientPS,
    InputError,
    LPSNetStyle,
    MaskRCNN,
    PanopticSegmentor,
    UPSNet,
    add_efficientps_config,
)
from efficientps_d2.config import building
from efficientps_d2.config.loading import load_config, without_cuda
from efficientps_d2.engine.auto_values import fill_auto

# No configs of their own, but additions to others.
ADDITIONS = {
    "Base-LPSNet-Style.yaml",
    "Base-Mask-RCNN.yaml",
    "Base-Panoptic-FPN.yaml",
    "Base-UPSNet.yaml",
}
NAMES = sorted({path.name for path in CONFIGS.glob("*.yaml")} - ADDITIONS)
NETWORKS = {
    "efficientps": EfficientPS,
    "lpsnet_style": LPSNetStyle,
    "mask_rcnn": MaskRCNN,
    "panoptic": PanopticSegmentor,
    "upsnet": UPSNet,
}


@pytest.mark.parametrize("name", NAMES)
def test_config_builds_a_model(name, toy):
    overrides = ["MODEL.DEVICE", "cpu", "MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.WEIGHTS", ""]
    overrides += ["INPUT.SHOWN_BANDS", (0, 1, 2)]  # of what the images here have
    if not name.startswith("Base"):
        own = load_config(str(CONFIGS / name))
        assert own.DATASETS.TEST or own.AUTO, "names no dataset"
    cfg = load_config(
        str(CONFIGS / name), [*overrides, "DATASETS.TRAIN", (toy,), "DATASETS.TEST", (toy,)]
    )
    fill_auto(cfg)
    with torch.device("meta"):  # without weights
        model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    (expected,) = (network for part, network in NETWORKS.items() if part in name.lower())
    assert type(model) is expected and model.thing_class_ids == [2, 3]
    if expected is not MaskRCNN:
        assert model.sem_seg_head.predictor.out_channels == 4


def test_official_form_is_the_paper_form_and_its_keys():
    """The two forms are sets of keys: nothing else may differ."""
    paper = load_config(str(CONFIGS / "efficientps_cityscapes.yaml"))
    official = load_config(str(CONFIGS / "efficientps_cityscapes_official.yaml"))

    def flat(node, prefix=""):
        for key, value in node.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    differing = {k for (k, v), (_, w) in zip(flat(paper), flat(official), strict=True) if v != w}
    assert differing == {
        "MODEL.EFFICIENTNET.ACTIVATE_STAGE0_PROJECTION",
        "MODEL.EFFICIENTPS.SEPARABLE_FPN",
        "MODEL.EFFICIENTPS.INNER_NORM",
        "MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER",
        "MODEL.ANCHOR_GENERATOR.NAME",
        "MODEL.RPN.BOUNDARY_THRESH",
        "MODEL.RPN.POST_NMS_TOPK_TRAIN",
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE",
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE",
        "MODEL.PANOPTIC_FPN.COMBINE.MASK_LOGIT_SCALE",
        "MODEL.PIXEL_MEAN",
        "MODEL.PIXEL_STD",
        "SOLVER.WARMUP_ITERS",
    }


@pytest.mark.parametrize(
    "content", [b"", b"just text", b"- a list", b"_BASE_: empty.yaml", b"\xff\xd8\xff"]
)
def test_a_file_without_keys_is_named(tmp_path, content):
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(InputError, match="(mine|empty).yaml (holds no keys|is no YAML)"):
        load_config(str(tmp_path / "mine.yaml"))


def test_no_config_is_named():
    with pytest.raises(InputError, match="--config-file is missing; give one"):
        load_config("")


def test_config_can_be_added_twice():
    cfg = get_cfg()
    add_efficientps_config(cfg)
    once = cfg.dump()
    add_efficientps_config(cfg)
    assert cfg.dump() == once


def test_auto_over_a_saved_config(tmp_path):
    """Which has an AUTO of its own."""
    saved = load_config(str(CONFIGS / "efficientps_streets.yaml"))
    (tmp_path / "saved.yaml").write_text(saved.dump())
    mine = tmp_path / "mine.yaml"
    mine.write_text("_BASE_: saved.yaml\nINPUT:\n  MIN_SIZE_TEST: auto\n")
    cfg = load_config(str(mine))
    assert cfg.AUTO == ["INPUT.MIN_SIZE_TEST"]
    assert cfg.MODEL.FPN.OUT_CHANNELS == saved.MODEL.FPN.OUT_CHANNELS


@pytest.mark.parametrize("norm", ["SyncBN", "nnSyncBN", "naiveSyncBN"])
def test_the_cpu_has_no_synchronised_norms(norm):
    cfg = load_config(str(CONFIGS / "efficientps_streets.yaml"), ["MODEL.FPN.NORM", norm])
    assert without_cuda(cfg).MODEL.FPN.NORM == "BN"


def test_errors_that_no_key_explains_keep_their_traceback(monkeypatch):
    def no_memory(cfg):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(building, "build_model", no_memory)
    cfg = load_config(str(CONFIGS / "efficientps_streets.yaml"))
    with pytest.raises(RuntimeError, match="out of memory"):
        building.build_network(cfg)
    monkeypatch.undo()
    cfg.MODEL.META_ARCHITECTURE = "EfficientSP"
    for build in (building.build_network, building.check_network):
        with pytest.raises(InputError, match="correct MODEL.META_ARCHITECTURE"):
            build(cfg)
