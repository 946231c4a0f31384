"""The keys of data, training and evaluation; see rules.py for those of the network."""

from efficientps_d2.config.allowed import ListOf, Matching, Number, OneOf, OrNone, Text
from efficientps_d2.config.rules import (
    COUNT,
    FLAG,
    NAMES,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SHARE,
    SIZE,
    Rule,
)

DECAY = OrNone(NOT_NEGATIVE)
SIZE_OR_NATIVE = Number(0, 100_000, whole=True)

DATA_RULES = [
    Rule("DATASETS.TRAIN", "registered datasets, or folders NAME_SPLIT, to train on", NAMES),
    Rule("DATASETS.TEST", "datasets to evaluate on", NAMES),
    Rule("DATALOADER.NUM_WORKERS", "processes that load images", Number(0, 1024, whole=True)),
    Rule(
        "DATALOADER.SAMPLER_TRAIN",
        "order of the images",
        OneOf(("TrainingSampler", "RepeatFactorTrainingSampler")),
    ),
    Rule(
        "DATALOADER.REPEAT_THRESHOLD",
        "with RepeatFactorTrainingSampler, images with a class that is in a smaller share of all "
        "images come more often",
        SHARE,
    ),
    Rule("DATALOADER.ASPECT_RATIO_GROUPING", "batches of wide images, or of high ones", FLAG),
    Rule("DATALOADER.FILTER_EMPTY_ANNOTATIONS", "leave out images without segments", FLAG),
    Rule(
        "DATALOADER.DAMAGED_IMAGE_LIMIT",
        "unreadable training images that each loader process skips before training stops",
        COUNT,
    ),
    Rule(
        "INPUT.FORMAT",
        "order of the channels of photographs, or all bands of a file as they are stored",
        OneOf(("RGB", "BGR", "BANDS")),
    ),
    Rule(
        "INPUT.SHOWN_BANDS",
        "with INPUT.FORMAT BANDS, the bands that drawings show as red, green and blue, from 0",
        ListOf(COUNT, "three numbers of bands, from 0", 3, 3),
    ),
    Rule(
        "INPUT.MASK_FORMAT",
        "form of masks in Detectron2's mapper; those of this project are always bitmaps",
        OneOf(("bitmask", "polygon")),
    ),
    Rule(
        "INPUT.MIN_SIZE_TRAIN",
        "pixels of the shorter side in training, drawn from these; 0 for the native size",
        ListOf(SIZE_OR_NATIVE, "a list of whole numbers from 0", 1),
    ),
    Rule("INPUT.MAX_SIZE_TRAIN", "most pixels of the longer side, in training", SIZE),
    Rule(
        "INPUT.MIN_SIZE_TRAIN_SAMPLING",
        "how INPUT.MIN_SIZE_TRAIN is drawn",
        OneOf(("choice", "range")),
    ),
    Rule(
        "INPUT.MIN_SIZE_TEST",
        "pixels of the shorter side in inference; 0 for the native size",
        SIZE_OR_NATIVE,
    ),
    Rule("INPUT.MAX_SIZE_TEST", "most pixels of the longer side, in inference", SIZE),
    Rule(
        "INPUT.SCALE_JITTER",
        "smallest and largest random factor of the size in training",
        ListOf(Number(0.01, 100), "two numbers from 0.01 to 100, the smaller first", 2, 2),
    ),
    Rule(
        "INPUT.COLOR_JITTER",
        "random brightness and contrast; of photographs also saturation and hue",
        FLAG,
    ),
    Rule(
        "INPUT.TURN_SCANS",
        "turn and mirror range images of laser scans at random, with the coordinates in them",
        FLAG,
    ),
    Rule("INPUT.CROP.ENABLED", "train on crops", FLAG),
    Rule(
        "INPUT.CROP.TYPE",
        "unit of INPUT.CROP.SIZE",
        OneOf(("absolute", "absolute_range", "relative", "relative_range")),
    ),
    Rule(
        "INPUT.CROP.SIZE",
        "height and width of the crops, in pixels or as a share",
        ListOf(Number(0, 100_000, above=True), "two numbers above 0", 2, 2),
    ),
    Rule("INPUT.RANDOM_FLIP", "mirror images", OneOf(("none", "horizontal", "vertical"))),
]

SOLVER_RULES = [
    Rule(
        "SEED",
        "seed of all random numbers; -1 draws one and saves it",
        Number(-1, 2**32 - 1, whole=True),
    ),
    Rule("OUTPUT_DIR", "folder of the run", Text("a folder", empty=False)),
    Rule(
        "OUTPUT_MIRROR",
        "where checkpoints and results are copied to, and --resume on a new machine finds them",
        Text("a folder, or an address such as s3://bucket/run"),
    ),
    Rule("SOLVER.OPTIMIZER", "optimizer", OneOf(("SGD", "AdamW"))),
    Rule("SOLVER.IMS_PER_BATCH", "images of a step, in all processes together", POSITIVE_COUNT),
    Rule(
        "SOLVER.REFERENCE_WORLD_SIZE", "processes that the schedule is meant for; 0 for any", COUNT
    ),
    Rule("SOLVER.MAX_ITER", "steps", POSITIVE_COUNT),
    Rule("SOLVER.BASE_LR", "learning rate", POSITIVE),
    Rule("SOLVER.BACKBONE_LR_FACTOR", "factor of the rate below the FPN", NOT_NEGATIVE),
    Rule("SOLVER.BIAS_LR_FACTOR", "factor of the rate for biases", NOT_NEGATIVE),
    Rule("SOLVER.MOMENTUM", "momentum of SGD", Number(0, 0.999999)),
    Rule("SOLVER.WEIGHT_DECAY", "weight decay", NOT_NEGATIVE),
    Rule("SOLVER.WEIGHT_DECAY_NORM", "weight decay of norms", NOT_NEGATIVE),
    Rule("SOLVER.WEIGHT_DECAY_BIAS", "weight decay of biases; None for that of weights", DECAY),
    Rule(
        "SOLVER.LR_SCHEDULER_NAME",
        "how the rate falls",
        OneOf(("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR")),
    ),
    Rule(
        "SOLVER.STEPS",
        "iterations at which WarmupMultiStepLR lowers the rate",
        ListOf(POSITIVE_COUNT, "a list of rising whole numbers"),
    ),
    Rule("SOLVER.GAMMA", "factor of the rate at SOLVER.STEPS", Number(0, 1, above=True)),
    Rule("SOLVER.WARMUP_ITERS", "iterations of rising rate", COUNT),
    Rule("SOLVER.WARMUP_FACTOR", "factor of the rate at the start of the warm-up", SHARE),
    Rule("SOLVER.CLIP_GRADIENTS.ENABLED", "clip gradients", FLAG),
    Rule(
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
        "what is clipped: the norm of all gradients, of each, or their values",
        OneOf(("full_model", "norm", "value")),
    ),
    Rule("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "limit of the gradients", POSITIVE),
    Rule("SOLVER.AMP.ENABLED", "mixed precision, on CUDA", FLAG),
    Rule("SOLVER.AMP.DTYPE", "lower precision of SOLVER.AMP", OneOf(("float16", "bfloat16"))),
    Rule(
        "SOLVER.GRADIENT_ACCUMULATION",
        "parts that the images of a step are computed in, one after the other, to save memory; 1 "
        "for all at once",
        POSITIVE_COUNT,
    ),
    Rule(
        "SOLVER.ACTIVATION_CHECKPOINTING",
        "compute blocks of the network twice instead of remembering what they computed, to save "
        "memory",
        FLAG,
    ),
    Rule(
        "SOLVER.EMA_DECAY",
        "share that the moving average of the weights keeps in a step; 0 for none",
        Number(0, 0.999999),
    ),
    Rule(
        "SOLVER.FREEZE_BN_ITER",
        "iteration from which batch norms keep their statistics; 0: never",
        COUNT,
    ),
    Rule("SOLVER.CHECKPOINT_PERIOD", "iterations between checkpoints", POSITIVE_COUNT),
    Rule("SOLVER.CHECKPOINTS_KEPT", "newest checkpoints that are kept; 0 for all", COUNT),
]

TEST_RULES = [
    Rule("TEST.EVAL_PERIOD", "iterations between evaluations; 0 for only at the end", COUNT),
    Rule(
        "TEST.BEST_METRIC",
        "what model_best.pth has the best value of",
        Matching(r"[^/]+/.+", "a metric, such as panoptic_seg/PQ"),
    ),
    Rule("TEST.PATIENCE", "evaluations without a better one until training stops; 0: never", COUNT),
    Rule(
        "TEST.LOSS_IMAGES",
        "images whose losses an evaluation during training computes; 0: none",
        COUNT,
    ),
    Rule(
        "TEST.DETECTIONS_PER_IMAGE",
        "most detections of an image; -1 for any number",
        Number(1, whole=True, also=-1),
    ),
    Rule("TEST.PICTURES", "images that an evaluation draws, in OUTPUT_DIR/pictures", COUNT),
    Rule("TEST.SAVE_PANOPTIC", "write predictions in COCO's format to OUTPUT_DIR/inference", FLAG),
    Rule(
        "TEST.STOCK_PANOPTIC_EVALUATOR",
        "PQ by Detectron2's evaluator, which keeps all predictions until it scores",
        FLAG,
    ),
    Rule(
        "TEST.AUG.ENABLED",
        "also evaluate with test-time augmentation (results with _TTA), or predict by --opts",
        FLAG,
    ),
    Rule(
        "TEST.AUG.SCALES",
        "factors of the image size in test-time augmentation",
        ListOf(Number(0, 16, above=True), "a list of numbers above 0 up to 16", 1),
    ),
    Rule("TEST.AUG.FLIP", "mirrored images in test-time augmentation, too", FLAG),
]
