"""Wrong arguments of train_net.py, and what the one sentence about each says."""

from pathlib import Path


def mistakes(trained_output: Path, tmp_path: Path) -> dict[str, tuple[list, str]]:
    truncated = tmp_path / "truncated.pth"
    truncated.write_bytes((trained_output / "model_final.pth").read_bytes()[:5000])
    final = trained_output / "model_final.pth"
    return {
        "unknown key": (["MODEL.NONSENSE", "1"], "there is no key MODEL.NONSENSE"),
        "misspelt key": (["SOLVER.BASELR", "1"], "write SOLVER.BASE_LR for SOLVER.BASELR"),
        "text for a list": (["DATASETS.TRAIN", "toy_train"], "list, of one name as \"('name',)\""),
        "bad value": (["SOLVER.MAX_ITER", "many"], "SOLVER.MAX_ITER"),
        "key without value": (["SOLVER.MAX_ITER"], "give pairs KEY VALUE"),
        "unknown part": (["MODEL.BACKBONE.NAME", "build_none"], "build_none"),
        "unknown network": (["MODEL.EFFICIENTNET.NAME", "tf_none"], "'tf_none'"),
        "unknown rule": (["MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER", "row"], "PIXELS_PER is 'row'"),
        "one jitter": (["INPUT.SCALE_JITTER", "(1.0,)"], "INPUT.SCALE_JITTER is"),
        "node for a value": (["SOLVER", "1"], "Config overrides"),
        "value for a node": (["SOLVER.BASE_LR.X", "1"], "Config overrides"),
        "unknown norm": (["MODEL.EFFICIENTNET.NORM", "LN"], "MODEL.EFFICIENTNET.NORM is 'LN'"),
        "unknown norm of the FPN": (["MODEL.FPN.NORM", "BNN"], "correct MODEL.FPN.NORM."),
        "unknown device": (["MODEL.DEVICE", "cudaa"], 'MODEL.DEVICE "cudaa" is no device'),
        "device without data": (["MODEL.DEVICE", "meta"], 'MODEL.DEVICE "meta" is not there'),
        "no training data": (["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty; give"),
        "unknown fusion": (["MODEL.PANOPTIC_FPN.COMBINE.METHOD", "best"], "METHOD is 'best'"),
        "unknown dataset": (["DATASETS.TRAIN", "('none_train',)"], '"none_train"'),
        "split left out": (["DATASETS.TRAIN", "('toy',)"], "give toy_train"),
        "file for OUTPUT_DIR": (
            ["OUTPUT_DIR", truncated],
            "truncated.pth cannot be made (File exists)",
        ),
        "missing dataset": (
            ["DATASETS.TRAIN", "('coco_2017_train_panoptic',)"],
            "coco/train2017; put the data there",
        ),
        "wrong class count": (
            ["MODEL.ROI_HEADS.NUM_CLASSES", "7"],
            "is 7, but the datasets have 2",
        ),
        "missing weights": (["MODEL.WEIGHTS", "none.pth"], "MODEL.WEIGHTS none.pth"),
        "missing backbone": (["MODEL.EFFICIENTNET.WEIGHTS", "none.pth"], '"none.pth"'),
        "eval without weights": (["--eval-only"], "An evaluation needs a checkpoint"),
        "eval of a run that is not there": (
            ["--eval-only", "--resume"],
            "has no checkpoint to resume; give MODEL.WEIGHTS FILE",
        ),
        "truncated weights": (["--eval-only", "MODEL.WEIGHTS", truncated], "truncated.pth"),
        "other weights": (
            ["--eval-only", "MODEL.WEIGHTS", final, "MODEL.FPN.OUT_CHANNELS", "24"],
            "does not fit this config",
        ),
        "auto without the config of the weights": (
            ["--eval-only", "MODEL.WEIGHTS", truncated, "INPUT.MIN_SIZE_TEST", "auto"],
            f"{tmp_path}/config.yaml, where the value of the weights",
        ),
        "AMP on the CPU": (["SOLVER.AMP.ENABLED", "True"], "AMP training needs CUDA"),
        "odd batch": (["SOLVER.REFERENCE_WORLD_SIZE", "4"], "SOLVER.REFERENCE_WORLD_SIZE"),
    }
