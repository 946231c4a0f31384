"""A prediction as layers to be looked at: which segment each pixel belongs to, and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Instances
from torch import Tensor

from efficientps_d2.modeling.fusion.semantic_logits import SemanticLogits
from efficientps_d2.modeling.fusion.stuff_scores import mean_probabilities
from efficientps_d2.prediction.colors import image_colors, things_of
from efficientps_d2.prediction.result import Prediction


@dataclass
class LayerSegment:
    """What a layer says of some of its pixels."""

    name: str  # of the class
    score: float  # of an instance its detection's, of others the mean semantic probability
    area: int  # pixels
    color: list[int]  # RGB
    counted: bool  # an object; the others are areas


@dataclass
class Layer:
    """A map of segments."""

    numbers: np.ndarray  # (H, W) uint16: position in ``segments``, from 1; 0 for none
    segments: list[LayerSegment]  # largest first


def prediction_layers(
    prediction: Prediction, metadata: Metadata, min_score: float
) -> dict[str, Layer]:
    """The layers "panoptic", "instance" and, of a network that has it, "semantic".

    Args:
        prediction: with ``sem_seg_logits``.
        metadata: names and colours of the classes.
        min_score: instances below it are left out of their layer.
    """
    of_things, of_instances = image_colors(prediction, metadata)
    layers = {
        "panoptic": panoptic_layer(prediction, metadata, of_things),
        "instance": instance_layer(prediction.instances, metadata, min_score, of_instances),
    }
    if prediction.sem_seg is not None:
        logits = prediction.sem_seg_logits
        layers["semantic"] = semantic_layer(prediction.sem_seg, logits, metadata)
    return layers


def panoptic_layer(prediction: Prediction, metadata: Metadata, colors: Sequence) -> Layer:
    """Things in their own colours, from 0 to 1, and stuff in those of its classes."""
    of_things = {s.id: _rgb(color) for s, color in zip(things_of(prediction), colors, strict=True)}
    ordered = sorted(prediction.segments, key=lambda segment: -segment.area)
    numbers = np.zeros(prediction.panoptic_seg.max() + 1, dtype=np.uint16)  # by segment id
    numbers[[segment.id for segment in ordered]] = np.arange(1, len(ordered) + 1)
    segments = [
        LayerSegment(s.name, s.score, s.area, color, s.isthing)
        for s in ordered
        for color in [of_things.get(s.id) or _class_color(metadata, s.category_id)]
    ]
    return Layer(numbers[prediction.panoptic_seg], segments)


def instance_layer(
    instances: Instances, metadata: Metadata, min_score: float, colors: Sequence
) -> Layer:
    """Instances in their colours; of those that overlap, the smaller lies on top.

    Areas are those of whole masks, with what is covered.

    Args:
        instances: ``scores``, ``pred_classes`` and ``pred_masks`` (N, H, W) bool.
        metadata: names of the classes.
        min_score: those below it are left out.
        colors: RGB, from 0 to 1, of each instance.
    """
    numbers, segments = np.zeros(instances.image_size, dtype=np.uint16), []
    areas = instances.pred_masks.flatten(1).sum(dim=1)
    kept = (instances.scores >= min_score) & (areas > 0)
    for i in areas.argsort(descending=True, stable=True):
        if kept[i]:
            name = metadata.stuff_classes[instances.pred_classes[i]]
            score, color = float(instances.scores[i]), _rgb(colors[i])
            segments.append(LayerSegment(name, score, int(areas[i]), color, True))
            numbers[instances.pred_masks[i].numpy()] = len(segments)
    return Layer(numbers, segments)


def semantic_layer(sem_seg: np.ndarray, logits: Tensor, metadata: Metadata) -> Layer:
    """One segment for each class that occurs.

    Args:
        sem_seg: (H, W) uint8 class ids.
        logits: (K, H, W) float32.
        metadata: names and colours of the classes.
    """
    numbers, segments = np.zeros(sem_seg.shape, dtype=np.uint16), []
    areas = np.bincount(sem_seg.ravel())
    found = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)].tolist()
    classes = {class_id: class_id for class_id in found}
    scores = mean_probabilities(SemanticLogits(logits), torch.as_tensor(sem_seg), areas, classes)
    for class_id in found:
        name, color = metadata.stuff_classes[class_id], _class_color(metadata, class_id)
        segments.append(LayerSegment(name, scores[class_id], int(areas[class_id]), color, False))
        numbers[sem_seg == class_id] = len(segments)
    return Layer(numbers, segments)


def _rgb(color: Sequence[float]) -> list[int]:
    return [round(255 * value) for value in color]


def _class_color(metadata: Metadata, class_id: int) -> list[int]:
    return list(map(int, metadata.stuff_colors[class_id]))
