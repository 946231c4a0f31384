"""From a dataset record to what the model trains on."""

import copy
import logging
from collections.abc import Sequence

import cv2
import detectron2.data.transforms as T
import numpy as np
import torch
from detectron2.config import configurable
from detectron2.data import detection_utils as utils
from detectron2.structures import BitMasks, Boxes, Instances
from panopticapi.utils import rgb2id

from efficientps_d2.data.augmentation import build_test_augmentations, build_train_augmentations
from efficientps_d2.data.bands import image_tensor, require_bands
from efficientps_d2.data.classes import dataset_classes
from efficientps_d2.data.coco_panoptic import IGNORE_LABEL
from efficientps_d2.data.images import read_image
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import DAMAGED, damage

logger = logging.getLogger(__name__)

CROWD_CLASS = -1  # marks crowd regions for the instance heads


class PanopticDatasetMapper:
    """Training mapper for every panoptic dataset.

    Reads the image and the panoptic PNG, augments both, and adds to the record

    * ``image``: (C, H, W) uint8, or float32 of bands,
    * ``sem_seg``: (H, W) int64 contiguous ids, 255 where there is no ground truth,
    * ``instances``: ``gt_boxes`` (from the transformed masks), ``gt_classes`` (0..things-1, or -1
      for crowd regions, for heads that take them), ``gt_masks`` (``BitMasks``).

    Returns None for an unreadable file, which makes the loader draw another image.
    """

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        thing_class_ids: Sequence[int],
        crowd_regions: bool = True,
        damaged_image_limit: int = 10,
        pixel_mean: Sequence[float] = (0.0, 0.0, 0.0),
    ):
        """
        Args:
            augmentations: applied to image and ground truth.
            image_format: "RGB", "BGR" or "BANDS".
            thing_class_ids: contiguous id of each class of the detector.
            crowd_regions: whether the heads take crowd regions; Detectron2's own do not.
            damaged_image_limit: unreadable images that are skipped before an error is raised.
            pixel_mean: of each band, which pixels without data get.
        """
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.detector_class = {id_: i for i, id_ in enumerate(thing_class_ids)}
        self.crowd_regions = crowd_regions
        self.damaged_image_limit = damaged_image_limit
        self.damaged_images = set()
        self.pixel_mean = pixel_mean

    @classmethod
    def from_config(cls, cfg):
        return {
            "augmentations": build_train_augmentations(cfg),
            "image_format": cfg.INPUT.FORMAT,
            "thing_class_ids": dataset_classes(cfg).thing_ids,
            "crowd_regions": cfg.MODEL.PROPOSAL_GENERATOR.NAME == "CrowdAwareRPN"
            and cfg.MODEL.ROI_HEADS.NAME == "CrowdAwareROIHeads",
            "damaged_image_limit": cfg.DATALOADER.DAMAGED_IMAGE_LIMIT,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        }

    @classmethod
    def for_validation(cls, cfg) -> "PanopticDatasetMapper":
        """A mapper that resizes as an evaluation does, and gives what losses are computed from."""
        options = cls.from_config(cfg)
        options["augmentations"] = build_test_augmentations(cfg)
        return cls(**options)

    def __call__(self, record: dict) -> dict | None:
        record = copy.deepcopy(record)
        try:
            image, pan_seg = read_pair(record, self.image_format)
        except DAMAGED as error:
            self._skip_damaged(record, error)
            return None
        check_image_size(record, image)
        require_bands(image, len(self.pixel_mean), record["file_name"])
        segments = record.pop("segments_info")
        check_ground_truth(record, rgb2id(pan_seg), segments)

        # The panoptic map stays an RGB image until here: only uint8 is resized without blending.
        inputs = T.AugInput(image, sem_seg=pan_seg)
        self.augmentations(inputs)
        pan_seg = rgb2id(inputs.sem_seg)
        record["image"] = image_tensor(inputs.image, self.pixel_mean)
        record["sem_seg"], record["instances"] = self._targets(pan_seg, segments)
        return record

    def _targets(self, pan_seg: np.ndarray, segments: list[dict]) -> tuple[torch.Tensor, Instances]:
        """Semantic labels and instances from a map of segment ids."""
        sem_seg = np.full(pan_seg.shape, IGNORE_LABEL, dtype=np.int64)
        classes, masks = [], []
        for segment in segments:
            mask = pan_seg == segment["id"]
            if not mask.any():  # cropped away
                continue
            sem_seg[mask] = segment["category_id"]
            detector_class = self.detector_class.get(segment["category_id"])
            if detector_class is None:
                continue
            if segment.get("iscrowd", 0):
                if not self.crowd_regions:
                    continue
                # One segment may hold all groups of a class; each gets a box of its own.
                count, parts = cv2.connectedComponents(mask.astype(np.uint8))
                masks += [parts == i for i in range(1, count)]
                classes += [CROWD_CLASS] * (count - 1)
            else:
                masks.append(mask)
                classes.append(detector_class)

        # BitMasks can give boxes, too, but takes ten times as long.
        boxes = [cv2.boundingRect(mask.view(np.uint8)) for mask in masks]
        boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances = Instances(pan_seg.shape)
        instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
        instances.gt_masks = BitMasks(
            np.stack(masks) if masks else np.zeros((0, *pan_seg.shape), dtype=bool)
        )
        instances.gt_boxes = Boxes(boxes)
        return torch.from_numpy(sem_seg), instances

    def _skip_damaged(self, record: dict, error: Exception) -> None:
        self.damaged_images.add(record["file_name"])
        count = len(self.damaged_images)
        if count > self.damaged_image_limit:
            raise InputError(
                f"{record['file_name']} or its panoptic PNG is unreadable ({damage(error)}), and "
                f"so are {count - 1} more training images; repair or remove them, or raise "
                "DATALOADER.DAMAGED_IMAGE_LIMIT if readable ones are left."
            ) from error
        logger.warning(
            "Skipped %s or its panoptic PNG, unreadable (%s); %d so far in this process.",
            record["file_name"],
            damage(error),
            count,
        )


class EvaluationMapper:
    """Adds ``image`` and ``pan_seg``, the ground truth: (H, W) int32 ids.

    An unreadable image, or a ground truth unlike its JSON, is an error.
    """

    def __init__(self, cfg):
        self.augmentations = T.AugmentationList(build_test_augmentations(cfg))
        self.image_format, self.pixel_mean = cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN

    def __call__(self, record: dict) -> dict:
        record = copy.deepcopy(record)
        try:
            image, pan_seg = read_pair(record, self.image_format)
        except DAMAGED as error:
            raise InputError(
                f"{record['file_name']} or its panoptic PNG cannot be read ({damage(error)}); an "
                "evaluation needs every image, so repair it or take it out of the dataset."
            ) from error
        check_image_size(record, image)
        require_bands(image, len(self.pixel_mean), record["file_name"])
        ids = rgb2id(pan_seg)
        check_ground_truth(record, ids, record["segments_info"])
        inputs = T.AugInput(image)
        self.augmentations(inputs)
        record["image"] = image_tensor(inputs.image, self.pixel_mean)
        record["pan_seg"] = torch.from_numpy(ids)
        return record


def read_pair(record: dict, image_format: str) -> tuple[np.ndarray, np.ndarray]:
    """The image of a record, (H, W, C), and its panoptic PNG, (H, W, 3) uint8."""
    image = read_image(record["file_name"], image_format)
    return image, utils.read_image(record["pan_seg_file_name"], format="RGB")


def check_image_size(record: dict, image: np.ndarray) -> None:
    """Fail if an image has another size than its record, which may also lack one: it is set."""
    try:
        utils.check_image_size(record, image)
    except utils.SizeMismatchError as error:
        raise InputError(str(error)) from error


def check_ground_truth(record: dict, pan_seg: np.ndarray, segments: list[dict]) -> None:
    """Fail if (H, W) segment ids disagree with their image or with the segments of the JSON."""
    file = record["pan_seg_file_name"]
    height, width = pan_seg.shape[:2]
    if (height, width) != (record["height"], record["width"]):
        raise InputError(
            f"{file} is {width} x {height} pixels, but {record['file_name']} is "
            f"{record['width']} x {record['height']}; they must have the same size."
        )
    ids = pan_seg.ravel()
    # Neighbours mostly have the same id: looking only at changes is much faster than a full sort.
    present = set(ids[np.flatnonzero(np.diff(ids))].tolist()) | {int(ids[-1])}
    listed = {segment["id"] for segment in segments}
    unlisted, absent = present - listed - {0}, listed - present
    if unlisted or absent:
        where = "has pixels but is not in" if unlisted else "has no pixels but is in"
        raise InputError(
            f"{file} disagrees with its JSON: segment {min(unlisted or absent)} {where} the JSON; "
            "write both again from the same source."
        )
