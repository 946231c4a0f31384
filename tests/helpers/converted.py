"""A checkpoint of the authors' network and what it becomes here, for tests."""

from pathlib import Path

import torch
from official_network import OfficialNetwork
from project import CONFIGS, call_verb
from torchvision.ops import roi_align

from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer
from efficientps_d2.config.loading import load_config
from efficientps_d2.deploy.convert import _matching_model

FORMS = {
    "efficientps_cityscapes_official": {
        "separable_fpn": False,
        "inner_norm": True,
        "activate_stage0": True,
    },
    "efficientps_cityscapes": {
        "separable_fpn": True,
        "inner_norm": False,
        "activate_stage0": False,
    },
}
OFFICIAL, PAPER = FORMS


class Converted:
    """The authors' network, what it computes, its checkpoint, and the same network here."""

    def __init__(self, form: str, folder: Path):
        self.form = form
        self.network = OfficialNetwork(**FORMS[form])
        # Large enough for the widest dilations on p4 and p5 and for boxes of every level.
        self.image = torch.rand(1, 3, 320, 384, generator=torch.Generator().manual_seed(1)) * 4 - 2
        self.taps = self.network.backbone(self.image)
        self.levels = self.network.neck(self.taps)
        self.sem_seg = self.network.semantic(self.levels)
        self.rpn = [self.network.rpn(level) for level in self.levels]
        self.boxes = torch.tensor(
            [[3.0, 5, 40, 33], [10, 20, 130, 200], [-60, -40, 300, 290], [-100, -100, 400, 420]]
        )
        self.pooled = {size: self.pool(size) for size in (7, 14)}
        self.box = self.network.box(self.pooled[7])
        self.mask = self.network.mask(self.pooled[14])

        state = {f"module.{k}": v for k, v in self.network.state.items()}
        self.checkpoint = folder / "official.pth"
        torch.save({"meta": {"CLASSES": ("car",)}, "state_dict": state}, self.checkpoint)
        self.config = CONFIGS / f"{form}.yaml"
        self.output = folder / "converted.pth"
        self.convert(self.checkpoint, self.output)
        self.model = _matching_model(
            load_config(str(self.config)), self.network.state, False
        ).eval()
        checkpointer = FittingCheckpointer(self.model)
        checkpointer.strict = True
        checkpointer.load(str(self.output))

    def convert(self, *arguments):
        call_verb("convert", *arguments, "--config-file", self.config)

    def pool(self, size):
        """RoIAlign from the level of sqrt(area) / 56; the authors' code shifts by half a pixel."""
        pooled = []
        for box in self.boxes:
            side = ((box[2] - box[0]) * (box[3] - box[1])).sqrt()
            i = int(torch.log2(side / 56 + 1e-6).floor().clamp(0, 3))
            rois = torch.cat([torch.zeros(1), box])[None]
            aligned = self.form == PAPER
            pooled.append(roi_align(self.levels[i], rois, size, 0.25 / 2**i, 2, aligned=aligned))
        return torch.cat(pooled)
