"""Config values that are "auto" follow the training data, once for each run."""

import pytest
import yaml
from checker import check, edit_json
from detectron2.modeling import build_model
from project import CONFIGS
from scenes import write_dataset

from efficientps_d2 import InputError
from efficientps_d2.config.keys import value_of
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.checks.suggest import suggest_config
from efficientps_d2.engine.auto_values import fill_auto

CUSTOM = str(CONFIGS / "efficientps_custom.yaml")
ANCHORS = "MODEL.ANCHOR_GENERATOR.SIZES"


def custom(name, *overrides):
    return load_config(
        CUSTOM,
        ["MODEL.DEVICE", "cpu", "DATASETS.TRAIN", (name,), "DATASETS.TEST", (name,)]
        + list(overrides),
    )


@pytest.fixture
def small(tmp_path, register):
    """A dataset and its folder."""
    folder = write_dataset(tmp_path / "small")
    return register("small", folder), folder


def test_every_suggestion_is_taken(small):
    """The shipped config leaves all that --suggest would say to the data, and nothing else."""
    name, folder = small
    suggestions = suggest_config(check(folder)[1].statistics)
    cfg = custom(name)
    assert set(cfg.AUTO) == {s.key for s in suggestions}
    chosen = fill_auto(cfg)
    assert sorted(chosen) == sorted(suggestions)
    assert all(value_of(cfg, s.key) == s.value for s in suggestions) and cfg.AUTO == []


def test_problems_of_the_data_are_counted(small, caplog):
    name, folder = small
    fill_auto(custom(name))
    assert not caplog.text
    edit_json(folder, lambda content: content["annotations"][0]["segments_info"][0].pop("iscrowd"))
    fill_auto(custom(name))
    assert f'Dataset "{name}": 1 error, 0 warnings; ' in caplog.text


def test_a_given_value_wins(small):
    cfg = custom(small[0], "INPUT.MIN_SIZE_TEST", "77", ANCHORS, "[[9],[10],[11],[12]]")
    chosen = {s.key for s in fill_auto(cfg)}
    assert not chosen & {"INPUT.MIN_SIZE_TEST", ANCHORS} and len(chosen) == 10
    assert cfg.INPUT.MIN_SIZE_TEST == 77 and cfg.MODEL.ANCHOR_GENERATOR.SIZES[0] == [9]
    cfg = custom(small[0], "INPUT.MIN_SIZE_TRAIN", "(384,)")
    fill_auto(cfg)
    assert cfg.INPUT.MAX_SIZE_TRAIN == 640, "the others go with it"


def test_any_config_can_be_auto(small):
    """Also on the command line, for a config that has its own value."""
    overrides = ["DATASETS.TRAIN", (small[0],), ANCHORS, "auto"]
    cfg = load_config(str(CONFIGS / "efficientps_cityscapes.yaml"), overrides)
    assert [s.key for s in fill_auto(cfg)] == [ANCHORS]
    assert cfg.INPUT.MIN_SIZE_TEST == 1024
    assert 300 < cfg.MODEL.ANCHOR_GENERATOR.SIZES[-1][0] < 1000, "of things enlarged with it"


def test_several_training_sets_count_together(tmp_path, small, register):
    large = register("large", write_dataset(tmp_path / "large", size=(384, 640), count=30))
    sizes = {}
    for train in ((small[0],), (large,), (small[0], large)):
        cfg = custom(small[0], "DATASETS.TRAIN", train)
        fill_auto(cfg)
        sizes[len(train), train[0]] = cfg.INPUT.MIN_SIZE_TEST
    assert sizes == {(1, "small"): 96, (1, "large"): 384, (2, "small"): 384}


def test_a_run_keeps_its_values_when_the_data_grow(tmp_path, small):
    """Resuming and evaluating take the values of the run, which need not have the data."""
    cfg = custom(small[0], "INPUT.MIN_SIZE_TEST", "123")
    fill_auto(cfg)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    later = custom("not_there_train")
    chosen = fill_auto(later, str(tmp_path / "run"))
    assert later.INPUT.MIN_SIZE_TEST == 123 and later.AUTO == []
    assert later.MODEL.ANCHOR_GENERATOR.SIZES == cfg.MODEL.ANCHOR_GENERATOR.SIZES
    assert "config.yaml" in chosen[0].reason


def test_what_cannot_be_chosen_is_one_sentence(tmp_path, small, register):
    with pytest.raises(InputError, match="is empty; name the training data"):
        fill_auto(load_config(CUSTOM))
    with pytest.raises(InputError, match=r'SOLVER.MAX_ITER is "auto", but small gives no value'):
        fill_auto(custom(small[0], "SOLVER.MAX_ITER", "auto"))
    with pytest.raises(InputError, match="SOLVER.MAX_ITR"):
        custom(small[0], "SOLVER.MAX_ITR", "auto")
    with pytest.raises(InputError, match='INPUT.MIN_SIZE_TRAIN is .*; give "auto" alone'):
        custom(small[0], "INPUT.MIN_SIZE_TRAIN", "('auto',)")
    with pytest.raises(InputError, match=r"weights/config.yaml, .* does not exist; put"):
        fill_auto(custom(small[0]), str(tmp_path / "weights"))
    with pytest.raises(InputError, match="coco/train2017; put the data there"):
        fill_auto(custom("coco_2017_train_panoptic"))
    (tmp_path / "typo.yaml").write_text(yaml.dump({"INPUT": {"MINSIZE": "auto"}, "VERSION": 2}))
    with pytest.raises(InputError, match="typo.yaml: MINSIZE"):
        load_config(str(tmp_path / "typo.yaml"))


def test_no_model_is_built_with_values_still_auto(small):
    with pytest.raises(InputError, match='is "auto", which a training replaces'):
        build_model(custom(small[0], "MODEL.EFFICIENTNET.WEIGHTS", ""))
