"""A file in the format of whole networks that finds one object: what is red."""

import json
from pathlib import Path

import onnx

from efficientps_d2_runtime import checksum

CATEGORIES = [
    {"id": 7, "name": "road", "isthing": 0, "color": [128, 64, 128]},
    {"id": 26, "name": "car", "isthing": 1, "color": [0, 0, 142]},
]
METADATA = {
    "format": "efficientps_d2 whole network",
    "version": "1",
    "categories": json.dumps(CATEGORIES),
    "size_divisibility": "32",
    "resize": "0 0",
    "score_threshold": "0.5",
    **checksum.METADATA,
}
# Red pixels are the car, segment 2, if its score of 0.75 is above the threshold; else all is road.
NETWORK = """
<ir_version: 8, opset_import: ["" : 18]>
small (uint8[H, W, 3] image, float score_threshold, float overlap_threshold, int64 stuff_area_limit)
=> (int32[H, W] panoptic_seg, int64[S] segment_classes, bool[S] segment_isthing,
    float[S] segment_scores, int64[S] segment_areas, float[N, 4] boxes, float[N] scores,
    int64[N] classes, float[N, M, M] mask_logits, uint8[H, W] sem_seg)
<float score_threshold = {0.5}, float overlap_threshold = {0.5}, int64 stuff_area_limit = {1}>
{
    zero = Constant<value = int64 {0}>()
    half = Constant<value = int32 {127}>()
    score = Constant<value = float {0.75}>()
    red = Gather<axis = 2>(image, zero)
    red32 = Cast<to = 6>(red)
    is_red = Greater(red32, half)
    sem_seg = Cast<to = 2>(is_red)
    found = Greater(score, score_threshold)
    is_car = And(is_red, found)
    car = Cast<to = 6>(is_car)
    one = Constant<value = int32 {1}>()
    panoptic_seg = Add(car, one)
    count = ReduceSum<keepdims = 0>(car)
    pixels = Size(sem_seg)
    car_area = Cast<to = 7>(count)
    road_area = Sub(pixels, car_area)
    first = Constant<value_ints = [0]>()
    area0 = Unsqueeze(road_area, first)
    area1 = Unsqueeze(car_area, first)
    areas = Concat<axis = 0>(area0, area1)
    kept = Constant<value = bool[2] {1, 1}>()
    segment_areas = Compress<axis = 0>(areas, kept)
    segment_classes = Constant<value_ints = [0, 1]>()
    segment_isthing = Constant<value = bool[2] {0, 1}>()
    segment_scores = Constant<value_floats = [0.6, 0.75]>()
    boxes = Constant<value = float[1, 4] {4.0, 2.0, 12.0, 6.0}>()
    scores = Constant<value_floats = [0.75]>()
    classes = Constant<value_ints = [1]>()
    mask_logits = Constant<value = float[1, 2, 2] {9.0, 9.0, -9.0, -9.0}>()
}
"""


def write_small_network(path: Path, **metadata: str) -> Path:
    """Write it with these metadata instead of its own; None leaves one out."""
    model = onnx.parser.parse_model(NETWORK)
    onnx.checker.check_model(model)
    kept = {k: v for k, v in {**METADATA, **metadata}.items() if v is not None}
    onnx.helper.set_model_props(model, kept)
    path.write_bytes(checksum.seal(model.SerializeToString()))
    return path
