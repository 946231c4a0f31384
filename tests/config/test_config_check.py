"""Wrong config values are refused at once, in one sentence."""

import json

import pytest
import yaml
from detectron2.config import CfgNode, get_cfg
from hypothesis import given
from hypothesis import strategies as st
from project import CONFIGS, ROOT, load_tool
from scenes import write_dataset

from efficientps_d2.config.allowed import ListOf, Number
from efficientps_d2.config.building import check_network
from efficientps_d2.config.check import RULES, check_schedule
from efficientps_d2.config.defaults import add_efficientps_config
from efficientps_d2.config.keys import flat_items
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2_runtime.errors import InputError

VALUES = {
    "SOLVER.IMS_PER_BATCH": ("0", "is 0; give a whole number from 1."),
    "SOLVER.MAX_ITER": ("-5", "is -5; give a whole number from 1."),
    "SOLVER.BASE_LR": ("-1.0", "is -1.0; give a number above 0."),
    "SOLVER.WEIGHT_DECAY": ("1e999", "is inf; give a number from 0."),
    "SOLVER.CHECKPOINT_PERIOD": ("0", "is 0; give a whole number from 1."),
    "SOLVER.LR_SCHEDULER_NAME": ("x", "is 'x'; give \"WarmupMultiStepLR\", "),
    "SOLVER.WARMUP_ITERS": ("-1", "is -1; give a whole number from 0."),
    "SOLVER.OPTIMIZER": ("Lion", 'is \'Lion\'; give "SGD" or "AdamW".'),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("all", "is 'all'; give \"full_model\", "),
    "INPUT.CROP.SIZE": ("(0,0)", "two numbers above 0."),
    "INPUT.CROP.TYPE": ("nonsense", 'give "absolute", '),
    "INPUT.RANDOM_FLIP": ("both", 'give "none", "horizontal" or "vertical".'),
    "INPUT.FORMAT": ("XYZ", 'is \'XYZ\'; give "RGB", "BGR" or "BANDS".'),
    "INPUT.MIN_SIZE_TEST": ("-5", "is -5; give a whole number from 0 to 100000."),
    "INPUT.SCALE_JITTER": ("(1.0,)", "two numbers from 0.01 to 100"),
    "DATALOADER.NUM_WORKERS": ("-1", "is -1; give a whole number from 0 to 1024."),
    "DATALOADER.SAMPLER_TRAIN": ("Any", "is 'Any'; give \"TrainingSampler\" or "),
    "SEED": ("99999999999999", "from -1 to 4294967295."),
    "MODEL.PIXEL_STD": (
        "[1.0, 0.0, 1.0]",
        "give a number above 0 for each band, three of",
    ),
    "MODEL.SEM_SEG_HEAD.HARD_PIXEL_FRACTION": ("7.0", "give a number above 0 up to 1."),
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": ("0", "give a whole number from 1."),
    "MODEL.FPN.OUT_CHANNELS": ("6000000000", "give a whole number from 1 to 65536."),
    "TEST.AUG.SCALES": ("()", "give a list of numbers above 0 up to 16."),
    "OUTPUT_DIR": ("a\0b", "give a folder."),
    "INPUT.MIN_SIZE_TRAIN": ("()", "give a list of whole numbers from 0."),
    "DATASETS.TRAIN": ("(3,)", "give a list of names."),
    "TEST.BEST_METRIC": ("accuracy", "is 'accuracy'; give a metric, such as panoptic_seg/PQ."),
    "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": ("True", "is True; give False."),
    "SOLVER.WEIGHT_DECAY_BIAS": ("-1.0", "is -1.0; give a number from 0, or None."),
}
TOGETHER = [
    (["SOLVER.STEPS", "(5, 3)"], "SOLVER.STEPS is (5, 3); give rising numbers."),
    (
        ["SOLVER.STEPS", "(5, 700)"],
        'below SOLVER.MAX_ITER 660; give, for instance, SOLVER.STEPS "(4',
    ),
    (["INPUT.SCALE_JITTER", "(2.0, 1.0)"], "INPUT.SCALE_JITTER is (2.0, 1.0); the smaller"),
    (["INPUT.MIN_SIZE_TRAIN", "(900,)", "INPUT.MAX_SIZE_TRAIN", "800"], "must not exceed"),
    (
        ["SOLVER.LR_SCHEDULER_NAME", "WarmupStepWithFixedGammaLR", "SOLVER.WARMUP_ITERS", "660"],
        "SOLVER.WARMUP_ITERS 660 must lie below SOLVER.MAX_ITER 660",
    ),
    (["INPUT.CROP.TYPE", "relative"], "give shares up to 1"),
    (["INPUT.CROP.SIZE", "(0.5, 0.5)"], "give whole numbers of pixels."),
    (["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"], "REPEAT_THRESHOLD is 0"),
    (["TEST.PATIENCE", "2", "TEST.EVAL_PERIOD", "0"], "TEST.EVAL_PERIOD is 0"),
    (
        ["INPUT.CROP.SIZE", "(32, 32)", "SOLVER.IMS_PER_BATCH", "1"],
        "gives batch norms one value of each channel",
    ),
]


def config(*overrides):
    return load_config("panoptic_fpn_streets", list(overrides))


@pytest.mark.parametrize("key", VALUES)
def test_a_wrong_value_is_named_with_what_is_allowed(key):
    value, message = VALUES[key]
    with pytest.raises(InputError) as error:
        config(key, value)
    assert str(error.value).startswith(f"{key} is ") and message in str(error.value)


@pytest.mark.parametrize(("overrides", "message"), TOGETHER, ids=lambda x: str(x)[:40])
def test_values_that_do_not_fit_together(overrides, message):
    with pytest.raises(InputError) as error:
        check_schedule(config(*overrides, "MODEL.EFFICIENTNET.NORM", "BN"))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ANCHOR_GENERATOR.SIZES", "[[16], [32]]", "SIZES has 2 lists, but .* has 5 levels"),
        ("ANCHOR_GENERATOR.ASPECT_RATIOS", "[[1], [2]]", "ASPECT_RATIOS has 2 lists, but"),
        ("RPN.IN_FEATURES", "['p2', 'p3']", "SIZES has 5 lists, but .* has 2 levels"),
        ("RPN.IN_FEATURES", "['p2', 'p2', 'p3', 'p4']", "give a list of different feature names"),
        ("RPN.IOU_THRESHOLDS", "[0.5]", "IOU_LABELS has 3 labels and IOU_THRESHOLDS 1 limits"),
        ("ROI_HEADS.IOU_LABELS", "[0, 1, 1]", "MODEL.ROI_HEADS.IOU_LABELS has 3 labels"),
        ("ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator", "give DefaultAnchorGenerator"),
        ("PROPOSAL_GENERATOR.NAME", "RRPN", "RRPN predicts rotated boxes, no masks; give RPN"),
        ("ROI_HEADS.NAME", "RROIHeads", "give StandardROIHeads"),
        ("FPN.GLOBAL_CONTEXT", "True", "FPN.GLOBAL_CONTEXT is of MODEL.BACKBONE.NAME build_deform"),
    ],
)
def test_parts_of_the_network_that_do_not_fit(key, value, message):
    with pytest.raises(InputError, match=message):
        config(f"MODEL.{key}", value)


def test_groups_of_offsets_are_refused():
    with pytest.raises(InputError, match="DEFORM_NUM_GROUPS is 2, but .* leave it at 1"):
        load_config("upsnet_r101_dcn_coco", ["MODEL.RESNETS.DEFORM_NUM_GROUPS", "2"])


def test_mask_rcnn_alone_has_no_semantic_head():
    with pytest.raises(
        InputError, match="NoSemSegHead, but PanopticSegmentor needs a semantic head"
    ):
        config("MODEL.SEM_SEG_HEAD.NAME", "NoSemSegHead")
    with pytest.raises(InputError, match="SemSegFPNHead, but MaskRCNN has no semantic head"):
        config("MODEL.META_ARCHITECTURE", "MaskRCNN")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ROI_BOX_HEAD.NUM_FC", "0", r"needs len\(conv_dims\) \+ len\(fc_dims\) > 0"),
        ("ROI_BOX_HEAD.USE_FED_LOSS", "True", "use sigmoid cross entropy loss with federated"),
    ],
)
def test_what_only_detectron2_refuses_is_one_sentence(key, value, message, toy):
    cfg = config(f"MODEL.{key}", value, "DATASETS.TRAIN", f"('{toy}',)", "DATASETS.TEST", "()")
    with pytest.raises(InputError, match=f"cannot be built from this config: .*{message}"):
        check_network(with_class_counts(cfg))


@pytest.mark.parametrize("kind", [0, 1], ids=["stuff", "things"])
def test_classes_of_one_kind_are_refused(kind, tmp_path, register):
    folder = write_dataset(tmp_path / "data")
    content = json.loads((folder / "panoptic.json").read_text())
    for category in content["categories"]:
        category["isthing"] = kind
    (folder / "panoptic.json").write_text(json.dumps(content))
    register("one_kind", folder)
    cfg = config("DATASETS.TRAIN", "('one_kind',)", "DATASETS.TEST", "()")
    with pytest.raises(InputError, match=f"{4 * kind} thing classes among 4; .*at least one"):
        with_class_counts(cfg)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("[a-z]*.yaml")), ids=lambda f: f.stem)
def test_the_configs_of_this_project_pass(file):
    check_schedule(load_config(str(file)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.EFFICIENTPS.CLASS_NAMES", "['traffic\u00a0light', '\u0645\u200c\u0645']"),
        ("OUTPUT_DIR", "output/\u3000"),
        ("TEST.DETECTIONS_PER_IMAGE", "-1"),
        ("TEST.BEST_METRIC", "my-data.v2_val/panoptic_seg/PQ"),
        ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[0.5, 1.0]"),
    ],
)
def test_what_detectron2_and_datasets_allow_is_allowed(key, value):
    config(key, value)


def test_each_key_of_this_project_has_a_rule():
    cfg = get_cfg()
    stock = {key for key, _ in flat_items(cfg)}
    add_efficientps_config(cfg)
    ours = {key for key, _ in flat_items(cfg)} - stock - {"AUTO"}
    keys = [rule.key for rule in RULES]
    assert ours <= set(keys) and len(keys) == len(set(keys))


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_key_that_our_configs_set_has_a_rule(file):
    content = yaml.safe_load(file.read_text())
    content.pop("_BASE_", None)
    keys = {key for key, _ in flat_items(CfgNode(content))}
    assert keys <= {rule.key for rule in RULES} | {"VERSION"}


def test_the_page_of_the_keys_is_made_of_the_rules():
    page = load_tool("write_config_docs").config_page()
    assert page == (ROOT / "docs" / "CONFIG.md").read_text(), "run tools/write_config_docs.py"


def test_a_network_larger_than_the_memory_is_refused_before_it_is_built(toy):
    huge = ("MODEL.ROI_BOX_HEAD.FC_DIM", "65536", "MODEL.FPN.OUT_CHANNELS", "65536")
    cfg = with_class_counts(config(*huge, "DATASETS.TRAIN", (toy,), "DATASETS.TEST", ()))
    with pytest.raises(InputError, match="GB of memory; the largest are roi_heads.box_head.fc1.we"):
        check_network(cfg)


@given(st.floats(), st.floats(0, 1), st.floats(1, 2))
def test_numbers(value, low, high):
    inside = low <= value <= high
    assert Number(low, high).holds(value) == inside
    assert Number(low, high, above=True).holds(value) == (inside and value > low)
    assert Number(low, high, whole=True).holds(value) == (inside and value == int(value))
    assert ListOf(Number(low, high), "two numbers", 2, 2).holds([value, low]) == inside
    assert Number(low, high, also=-1.0).holds(-1) and not Number(low, high).holds(True)


def test_a_whole_number_can_stand_for_a_fraction(tmp_path):
    """On the command line and in a file; what is refused names what the key takes."""
    assert config("SOLVER.BASE_LR", "1").SOLVER.BASE_LR == 1.0
    file = tmp_path / "config.yaml"
    file.write_text("SOLVER: {BASE_LR: 1, MOMENTUM: 0}\n")
    solver = load_config(str(file)).SOLVER
    assert isinstance(solver.BASE_LR, float) and solver.MOMENTUM == 0.0
    with pytest.raises(InputError, match="SOLVER.BASE_LR is -1.0; give"):
        config("SOLVER.BASE_LR", "-1")
    for key, value, cure in (
        ("SOLVER.MAX_ITER", "ten", "give a whole number"),
        ("SOLVER.BASE_LR", "fast", "give a number"),
        ("DATASETS.TRAIN", "mine", "of one name as"),
    ):
        with pytest.raises(InputError, match=cure):
            config(key, value)
