"""A predictor that says of every image what a test can work out by itself."""

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from scenes import CLASS_ORDERS, make_categories

from efficientps_d2.data.coco_panoptic import set_classes
from efficientps_d2.prediction.predictor import Prediction, Segment

ROAD, SKY, CAR, PERSON = range(4)
CAR_BOX = (slice(40, 60), slice(20, 60))
PERSON_BOX = (slice(45, 55), slice(50, 80))  # over the car's right side
VOID = (slice(None), slice(150, None))
LOGIT = 2.0  # of the class that wins; the others have 0


class StubPredictor:
    """Sky over road, a car, and void on the right of wide images."""

    def __init__(self):
        self.metadata = Metadata(name="stub")
        set_classes(self.metadata, make_categories(CLASS_ORDERS["things_last"]))
        combine = {"PANOPTIC_FPN": {"COMBINE": {"INSTANCES_CONFIDENCE_THRESH": 0.5}}}
        self.cfg = CfgNode({"MODEL": combine})
        self.images = []

    def __call__(self, image: np.ndarray, image_format: str, logits: bool) -> Prediction:
        assert image_format == "RGB" and logits
        self.images.append(image)
        return predict(image.shape[:2], self.metadata)


def predict(size: tuple[int, int], metadata: Metadata) -> Prediction:
    sem_seg = np.full(size, ROAD, dtype=np.uint8)
    sem_seg[: size[0] // 2] = SKY
    sem_seg[CAR_BOX] = CAR
    # Ids in another order than the areas.
    pan_seg = np.choose(sem_seg, [7, 2, 1, 0]).astype(np.int32)
    pan_seg[VOID] = 0
    found = [(7, ROAD, "road", 0.81), (2, SKY, "sky", 0.62), (1, CAR, "car", 0.954)]
    segments = [
        Segment(id_, class_id, name, class_id == CAR, score, int((pan_seg == id_).sum()))
        for id_, class_id, name, score in found
        if (pan_seg == id_).any()
    ]
    scores = np.eye(4, dtype=np.float32)[sem_seg].transpose(2, 0, 1) * LOGIT
    return Prediction(pan_seg, segments, sem_seg, instances(size), torch.as_tensor(scores))


def instances(size: tuple[int, int]) -> Instances:
    """A person over a car, something empty, and something too uncertain."""
    masks = torch.zeros((4, *size), dtype=torch.bool)
    for mask, box in zip(masks, (PERSON_BOX, CAR_BOX, (slice(0), slice(0)), VOID), strict=True):
        mask[box] = True
    return Instances(
        size,
        pred_boxes=Boxes(torch.zeros(4, 4)),
        scores=torch.tensor([0.71, 0.954, 0.9, 0.3]),
        pred_classes=torch.tensor([PERSON, CAR, CAR, CAR]),
        pred_masks=masks,
    )
