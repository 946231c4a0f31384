"""What the config keys of this project, and those of Detectron2 that it uses, mean and may be.

docs/CONFIG.md is made from these tables. Keys that are in none of them are Detectron2's own, whose
documentation describes them.
"""

from typing import NamedTuple

from efficientps_d2.config.allowed import Allowed, Flag, ListOf, Nested, Number, OneOf, Text

FLAG = Flag()
COUNT = Number(0, whole=True)
POSITIVE_COUNT = Number(1, whole=True)
SIZE = Number(1, 100_000, whole=True)  # of images, in pixels
CHANNELS = Number(1, 65_536, whole=True)
SHARE = Number(0, 1)
POSITIVE = Number(0, above=True)
NOT_NEGATIVE = Number(0)
NAME = Text("a name", empty=False)
NAMES = ListOf(NAME, "a list of names")
NORM = Text("a norm of Detectron2, such as GN, BN or SyncBN")
LEVELS = ListOf(NAME, "a list of different feature names", 1, distinct=True)
IOUS = ListOf(SHARE, "a list of numbers from 0 to 1")
LABELS = ListOf(Number(-1, 1, whole=True), "a list of -1, 0 and 1")
MEANS = ListOf(Number(), "a number for each band, three of photographs", 1)
DEVIATIONS = ListOf(POSITIVE, "a number above 0 for each band, three of photographs", 1)
POOLER = OneOf(("ROIAlign", "ROIAlignV2", "ROIPool"))


class Rule(NamedTuple):
    """A config key."""

    key: str
    meaning: str
    allowed: Allowed


MODEL_RULES = [
    Rule("MODEL.META_ARCHITECTURE", "network", NAME),
    Rule("MODEL.DEVICE", "device of PyTorch", NAME),
    Rule("MODEL.WEIGHTS", "checkpoint to start from or to evaluate", Text("a file or URL")),
    Rule("MODEL.MASK_ON", "predict masks", FLAG),
    Rule("MODEL.PIXEL_MEAN", "mean of each channel, as INPUT.FORMAT orders them", MEANS),
    Rule("MODEL.PIXEL_STD", "standard deviation of each channel", DEVIATIONS),
    Rule("MODEL.BACKBONE.NAME", "builder of the backbone", NAME),
    Rule(
        "MODEL.BACKBONE.FREEZE_AT",
        "parts of the backbone that are not trained: 1 the stem, 2 also up to res2, 5 all",
        Number(0, 5, whole=True),
    ),
    Rule(
        "MODEL.EFFICIENTNET.NAME",
        "timm name: tf_efficientnet_b0 to b7 get the changes of the paper, tf_efficientnet_lite0 "
        "to lite4 stay as they are, others give timm's own features",
        NAME,
    ),
    Rule(
        "MODEL.EFFICIENTNET.WEIGHTS",
        "ImageNet weights: timm (a download), lite (PyPI packages), a file, or none; ignored when "
        "MODEL.WEIGHTS is set or a run is resumed",
        Text('"timm", "lite", a file'),
    ),
    Rule(
        "MODEL.EFFICIENTNET.NORM",
        "norms of the backbone; GN for training without ImageNet weights",
        OneOf(("BN", "SyncBN", "FrozenBN", "GN")),
    ),
    Rule("MODEL.EFFICIENTNET.DROP_PATH", "rate of stochastic depth", Number(0, 0.99)),
    Rule(
        "MODEL.EFFICIENTNET.ACTIVATE_STAGE0_PROJECTION",
        "also activate the projections of stage 0, as the authors' code does (B0 to B7)",
        FLAG,
    ),
    Rule("MODEL.EFFICIENTPS.SEPARABLE_FPN", "depthwise separable outputs of the 2-way FPN", FLAG),
    Rule("MODEL.EFFICIENTPS.LINEAR_FPN", "no LeakyReLU in the 2-way FPN, unlike the paper", FLAG),
    Rule(
        "MODEL.EFFICIENTPS.INNER_NORM",
        "norm and activation inside separable convolutions, too",
        FLAG,
    ),
    Rule("MODEL.EFFICIENTPS.CHANNELS_LAST", "memory format of convolutions; same results", FLAG),
    Rule(
        "MODEL.EFFICIENTPS.THING_CLASS_IDS",
        "contiguous ids of the things; set from the datasets and saved",
        ListOf(COUNT, "a list of ids"),
    ),
    Rule(
        "MODEL.EFFICIENTPS.CLASS_NAMES", "names of all classes; set from the datasets, saved", NAMES
    ),
    Rule("MODEL.FPN.IN_FEATURES", "features that the FPN takes", NAMES),
    Rule("MODEL.FPN.OUT_CHANNELS", "channels of p2 to p5", CHANNELS),
    Rule("MODEL.FPN.NORM", "norms of the FPN", NORM),
    Rule(
        "MODEL.FPN.GLOBAL_CONTEXT",
        "add the mean of res5 to its lateral, in the FPN on ResNet, as UPSNet does for COCO",
        FLAG,
    ),
    Rule("MODEL.SEM_SEG_HEAD.NAME", "semantic head", NAME),
    Rule("MODEL.SEM_SEG_HEAD.IN_FEATURES", "features that the semantic head takes", LEVELS),
    Rule("MODEL.SEM_SEG_HEAD.CONVS_DIM", "channels of the semantic head", CHANNELS),
    Rule("MODEL.SEM_SEG_HEAD.NORM", "norms of the semantic head", NORM),
    Rule(
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES",
        "number of classes; set from the datasets",
        Number(1, 10_000, whole=True, also=-1),
    ),
    Rule("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", "weight of the semantic loss", NOT_NEGATIVE),
    Rule(
        "MODEL.SEM_SEG_HEAD.HARD_PIXEL_FRACTION",
        "the semantic loss is the mean over this share of the pixels, those with the largest loss; "
        "the paper has 0.25",
        Number(0, 1, above=True),
    ),
    Rule(
        "MODEL.SEM_SEG_HEAD.HARD_PIXELS_PER",
        "take the hardest pixels of each image (paper) or of the whole batch (authors' code)",
        OneOf(("image", "batch")),
    ),
    Rule("MODEL.PROPOSAL_GENERATOR.NAME", "region proposal network", NAME),
    Rule("MODEL.ANCHOR_GENERATOR.NAME", "builder of the anchors", NAME),
    Rule(
        "MODEL.ANCHOR_GENERATOR.SIZES",
        "side lengths of the anchors in pixels, a list for each level",
        Nested(Number(0, 100_000, above=True), "numbers above 0, or lists of them"),
    ),
    Rule(
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS",
        "heights over widths of the anchors, a list for each level or one for all",
        Nested(POSITIVE, "numbers above 0, or lists of them"),
    ),
    Rule(
        "MODEL.ANCHOR_GENERATOR.OFFSET", "offset of the first anchor, in strides", Number(0, 0.999)
    ),
    Rule("MODEL.RPN.IN_FEATURES", "features that the RPN takes", LEVELS),
    Rule("MODEL.RPN.BOUNDARY_THRESH", "pixels an anchor may reach outside", Number(-1)),
    Rule(
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE",
        "anchors of an image in the loss of the RPN",
        POSITIVE_COUNT,
    ),
    Rule(
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN", "boxes of a level before NMS, in training", POSITIVE_COUNT
    ),
    Rule(
        "MODEL.RPN.PRE_NMS_TOPK_TEST", "boxes of a level before NMS, in inference", POSITIVE_COUNT
    ),
    Rule("MODEL.RPN.POST_NMS_TOPK_TRAIN", "boxes after NMS, in training", POSITIVE_COUNT),
    Rule("MODEL.RPN.POST_NMS_TOPK_TEST", "boxes after NMS, in inference", POSITIVE_COUNT),
    Rule("MODEL.RPN.NMS_THRESH", "IoU above which NMS removes a box of the RPN", SHARE),
    Rule(
        "MODEL.RPN.SMOOTH_L1_BETA",
        "where the box loss of the RPN turns linear; 0 for L1",
        NOT_NEGATIVE,
    ),
    Rule("MODEL.RPN.IOU_THRESHOLDS", "limits of the IoU of anchors and objects", IOUS),
    Rule(
        "MODEL.RPN.IOU_LABELS",
        "label between the limits: 0 no object, 1 object, -1 ignored",
        LABELS,
    ),
    Rule("MODEL.ROI_HEADS.NAME", "instance heads", NAME),
    Rule("MODEL.ROI_HEADS.IN_FEATURES", "features that the instance heads take", LEVELS),
    Rule(
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "number of things; set from the datasets",
        Number(1, 10_000, whole=True, also=-1),
    ),
    Rule(
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE",
        "boxes of an image in the instance losses",
        POSITIVE_COUNT,
    ),
    Rule("MODEL.ROI_HEADS.POSITIVE_FRACTION", "largest share of objects among these boxes", SHARE),
    Rule("MODEL.ROI_HEADS.IOU_THRESHOLDS", "limits of the IoU of boxes and objects", IOUS),
    Rule(
        "MODEL.ROI_HEADS.IOU_LABELS",
        "label between the limits: 0 no object, 1 object, -1 ignored",
        LABELS,
    ),
    Rule("MODEL.ROI_HEADS.SCORE_THRESH_TEST", "least score of a detection", SHARE),
    Rule("MODEL.ROI_HEADS.NMS_THRESH_TEST", "IoU above which NMS removes a detection", SHARE),
    Rule("MODEL.ROI_BOX_HEAD.NAME", "box head", Text("a name")),
    Rule(
        "MODEL.ROI_BOX_HEAD.NUM_FC",
        "fully connected layers of the box head",
        Number(0, 100, whole=True),
    ),
    Rule("MODEL.ROI_BOX_HEAD.FC_DIM", "width of the layers of the box head", CHANNELS),
    Rule("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", "cells along a box", Number(1, 1024, whole=True)),
    Rule("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", "samples along a cell; 0 for all", COUNT),
    Rule("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "how features of a box are taken", POOLER),
    Rule(
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA",
        "where the box loss turns linear; 0 for L1",
        NOT_NEGATIVE,
    ),
    Rule("MODEL.ROI_MASK_HEAD.NAME", "mask head", NAME),
    Rule(
        "MODEL.ROI_MASK_HEAD.NUM_CONV", "convolutions of the mask head", Number(0, 100, whole=True)
    ),
    Rule("MODEL.ROI_MASK_HEAD.CONV_DIM", "channels of the mask head", CHANNELS),
    Rule("MODEL.ROI_MASK_HEAD.NORM", "norms of the mask head", NORM),
    Rule(
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION",
        "cells along a box; masks have twice as many pixels",
        Number(1, 1024, whole=True),
    ),
    Rule("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", "samples along a cell; 0 for all", COUNT),
    Rule("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "how features of a box are taken", POOLER),
    Rule(
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK",
        "one mask for all classes, which the parts of this project do not predict",
        OneOf((False,)),
    ),
    Rule("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT", "weight of the instance losses", NOT_NEGATIVE),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.METHOD",
        "fusion: adaptive (paper), heuristic (Panoptic FPN), upsnet, or log_odds, which adds mask "
        "logits and weighted semantic log-odds",
        NAME,
    ),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.SEMANTIC_WEIGHT",
        "weight of the semantic log-odds in log_odds",
        NOT_NEGATIVE,
    ),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH",
        "score of an instance in the panoptic result: above it, with heuristic also equal to it",
        SHARE,
    ),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH",
        "share of an instance that others may cover",
        SHARE,
    ),
    Rule("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", "least pixels of a stuff segment", COUNT),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.MASK_LOGIT_SCALE", "factor of mask logits in adaptive", POSITIVE
    ),
    Rule(
        "MODEL.PANOPTIC_FPN.COMBINE.CONFINE_TO_BOX",
        "in adaptive an instance gets no pixels outside its box; False as published",
        FLAG,
    ),
]
