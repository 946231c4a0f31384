"""The keys of the networks of other papers; see rules.py."""

from efficientps_d2.config.allowed import ListOf, Number, OneOf
from efficientps_d2.config.rules import CHANNELS, FLAG, LEVELS, NORM, NOT_NEGATIVE, SHARE, Rule

OTHER_NETWORK_RULES = [
    Rule("MODEL.RESNETS.DEPTH", "layers of the ResNet", OneOf((18, 34, 50, 101, 152))),
    Rule("MODEL.RESNETS.NORM", "norms of the ResNet", NORM),
    Rule(
        "MODEL.RESNETS.STRIDE_IN_1X1",
        "blocks have their stride in the first convolution, as the weights of Detectron2 do",
        FLAG,
    ),
    Rule("MODEL.RESNETS.OUT_FEATURES", "features of the ResNet", LEVELS),
    Rule(
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE",
        "deformable convolutions in res2 to res5, of build_deformable_resnet_fpn_backbone",
        ListOf(FLAG, "a list of four times True or False", 4, 4),
    ),
    Rule(
        "MODEL.UPSNET.NUM_CONVS",
        "deformable convolutions of UPSNet's semantic head",
        Number(1, 100, whole=True),
    ),
    Rule("MODEL.UPSNET.PANOPTIC_LOSS_WEIGHT", "weight of UPSNet's panoptic loss", NOT_NEGATIVE),
    Rule(
        "MODEL.UPSNET.ROI_LOSS_WEIGHT",
        "weight of UPSNet's semantic loss in the boxes of the ground truth",
        NOT_NEGATIVE,
    ),
    Rule(
        "MODEL.UPSNET.KEPT_BOXES",
        "share of the boxes of the ground truth that are instances in the panoptic loss; the "
        "others teach the unknown class",
        Number(0, 1, above=True),
    ),
    Rule(
        "MODEL.LPSNET.NUM_CONVS",
        "convolutions before the boxes of LPSNetStyle",
        Number(1, 100, whole=True),
    ),
    Rule("MODEL.LPSNET.CONV_DIM", "channels of these convolutions in LPSNetStyle", CHANNELS),
    Rule("MODEL.LPSNET.NORM", "norms of these convolutions in LPSNetStyle", NORM),
    Rule("MODEL.LPSNET.BOX_LOSS_WEIGHT", "weight of LPSNetStyle's loss of boxes", NOT_NEGATIVE),
    Rule(
        "MODEL.LPSNET.CENTERNESS_LOSS_WEIGHT",
        "weight of LPSNetStyle's loss of centerness",
        NOT_NEGATIVE,
    ),
    Rule(
        "MODEL.LPSNET.JOIN_THRESH",
        "least IoU of the boxes of a pixel and of the instance that it joins",
        SHARE,
    ),
]
