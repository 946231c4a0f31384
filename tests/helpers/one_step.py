"""A training of one step."""

from efficientps_d2.engine.trainer import Trainer

ONE_STEP = (
    *("SOLVER.MAX_ITER", 1, "SOLVER.STEPS", (), "SOLVER.IMS_PER_BATCH", 1),
    *("SOLVER.REFERENCE_WORLD_SIZE", 0, "INPUT.CROP.SIZE", (64, 64)),
    *("INPUT.MIN_SIZE_TRAIN", (64,), "INPUT.MIN_SIZE_TEST", 64),
    *("SEED", 1, "MODEL.EFFICIENTNET.NAME", "tf_efficientnet_lite0"),
)
SMALL = (
    *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", 0),
    *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 16),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
)
NORMS = ("EFFICIENTNET", "FPN", "SEM_SEG_HEAD", "ROI_MASK_HEAD")  # a crop has few pixels


def train_one_step(cfg) -> None:
    """Train, and see that weights change."""
    trainer = Trainer(cfg)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    after = trainer.model.parameters()
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
