"""Streets as a laser scanner sees them, in the layout and with the labels of SemanticKITTI.

Rays are cut with planes, boxes, cylinders and spheres; every scan follows from the seed, its
sequence and its number alone.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from efficientps_d2.data.datasets.semantic_kitti import RAW_IDS_OF, SPLITS
from efficientps_d2.data.lidar.projection import FIELD_DOWN, FIELD_UP, HEIGHT, WIDTH
from efficientps_d2.data.lidar.scans import write_point_labels
from efficientps_d2.utils.parallel import map_images
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_folder

MARKER = "lidar_streets.txt"  # marks a folder of ours, which may be replaced
SCANNER = 1.73  # metres above the road
FAR = 70.0  # metres
NOISE, LOST = 0.02, 0.05  # metres of a range, and the share of rays that do not come back
# Raw ids.
CAR, TRUCK, PERSON, BICYCLIST, SIDEWALK, BUILDING, FENCE = (
    RAW_IDS_OF[name][0]
    for name in ("car", "truck", "person", "bicyclist", "sidewalk", "building", "fence")
)
VEGETATION, TRUNK, TERRAIN, POLE, SIGN = (
    RAW_IDS_OF[name][0] for name in ("vegetation", "trunk", "terrain", "pole", "traffic-sign")
)
ROAD, LANE = RAW_IDS_OF["road"]
REMISSION = {CAR: 0.25, TRUCK: 0.3, PERSON: 0.35, BICYCLIST: 0.3, ROAD: 0.15, LANE: 0.6}
REMISSION |= {SIDEWALK: 0.3, BUILDING: 0.35, FENCE: 0.3, VEGETATION: 0.2, TRUNK: 0.4}
REMISSION |= {TERRAIN: 0.25, POLE: 0.5, SIGN: 0.95}


class Solid(NamedTuple):
    """A body on the ground: "box", "cylinder" or "ball"; metres, and radians of its turn."""

    kind: str
    label: int
    number: int
    x: float
    y: float
    size: tuple[float, float, float]  # length, width and height; twice the radii
    turn: float = 0.0
    above: float = 0.0  # of its lowest point over the ground


def scan_street(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One scan.

    Returns:
        (N, 4) float32 points and (N,) uint32 labels, as in the files of SemanticKITTI.
    """
    rays = _rays(rng)
    road_half, pavement = rng.uniform(4, 6), rng.uniform(2, 4)
    ranges, labels = _ground(rays, road_half, pavement)
    for solid in _solids(rng, road_half, pavement):
        rows = _rays_at(solid)
        found = _DISTANCES[solid.kind](rays[rows], solid)
        nearer = rows[found < ranges[rows]]
        ranges[nearer] = found[found < ranges[rows]]
        labels[nearer] = solid.label | solid.number << 16
    seen = (ranges < FAR) & (rng.random(len(ranges)) > LOST)
    ranges = ranges[seen] + rng.normal(0, NOISE, seen.sum())
    labels = labels[seen]
    of_label = np.array([REMISSION.get(i, 0) for i in range(100)])
    remission = of_label[labels & 0xFFFF] + rng.normal(0, 0.05, len(labels))
    points = np.column_stack([rays[seen] * ranges[:, None], remission.clip(0, 1)])
    return points.astype(np.float32), labels.astype(np.uint32)


def _rays(rng: np.random.Generator) -> np.ndarray:
    """(64 * 2048, 3) directions, one in each pixel of a range image."""
    pitch = FIELD_UP - (np.arange(HEIGHT) + 0.5) / HEIGHT * (FIELD_UP - FIELD_DOWN)
    yaw = np.pi - (np.arange(WIDTH) + 0.5) / WIDTH * 2 * np.pi
    pitch, yaw = np.meshgrid(pitch + rng.normal(0, 1e-4), yaw, indexing="ij")
    x, y, z = np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)
    return np.stack([x, y, z], axis=2).reshape(-1, 3)


def _rays_at(solid: Solid) -> np.ndarray:
    """Indices of the rays that may meet a body, by its direction."""
    distance, radius = np.hypot(solid.x, solid.y), np.hypot(solid.size[0], solid.size[1]) / 2
    half = np.arcsin(radius / distance) if distance > radius else np.pi
    center = (np.pi - np.arctan2(solid.y, solid.x)) / (2 * np.pi) * WIDTH
    width = min(half / (2 * np.pi) * WIDTH + 1, WIDTH / 2)
    columns = np.arange(int(center - width), int(center + width) + 1)[:WIDTH] % WIDTH
    return (np.arange(HEIGHT)[:, None] * WIDTH + columns).ravel()


def _ground(rays: np.ndarray, road_half: float, pavement: float) -> tuple[np.ndarray, np.ndarray]:
    """Range and label of the ground in each direction; the road runs along x."""
    down = np.minimum(rays[:, 2], -1e-6)
    ranges = -SCANNER / down
    aside = np.abs(rays[:, 1] * ranges)
    labels = np.where(aside < road_half + pavement, SIDEWALK, TERRAIN)
    labels[aside < road_half] = ROAD
    labels[aside < 0.15] = LANE
    return ranges, labels


def _solids(rng: np.random.Generator, road_half: float, pavement: float) -> list[Solid]:
    """Buildings, fences and trees beside the road, traffic on it, people and poles between."""
    solids, numbers = [], iter(range(1, 1000))
    edge = road_half + pavement
    for side in (-1, 1):
        x = -60.0
        while x < 60:
            length = rng.uniform(8, 18)
            y = side * (edge + rng.uniform(1, 4) + 5)
            kind = rng.random()
            if kind < 0.55:
                size = (length, 10.0, rng.uniform(6, 14))
                solids.append(Solid("box", BUILDING, 0, x + length / 2, y, size))
            elif kind < 0.75:
                size = (length, 0.15, rng.uniform(1, 1.8))
                solids.append(Solid("box", FENCE, 0, x + length / 2, side * (edge + 1), size))
            else:
                solids += _tree(rng, x + length / 2, side * (edge + rng.uniform(1, 3)))
            x += length + rng.uniform(0.5, 3)
        for _ in range(rng.integers(2, 6)):
            x, y = rng.uniform(-40, 40), side * (road_half + 0.4)
            solids.append(Solid("cylinder", POLE, 0, x, y, (0.2, 0.2, rng.uniform(3, 7))))
            if rng.random() < 0.5:
                solids.append(Solid("box", SIGN, 0, x, y, (0.05, 0.7, 0.7), above=2.2))
        for _ in range(rng.integers(1, 5)):
            x, y = rng.uniform(-25, 25), side * rng.uniform(road_half + 0.5, edge)
            size = (0.55, 0.55, rng.uniform(1.5, 1.9))
            solids.append(Solid("cylinder", PERSON, next(numbers), x, y, size))
        for _ in range(rng.integers(3, 8)):
            x, y = rng.uniform(-45, 45), side * (road_half - rng.uniform(1.1, 2.6))
            if abs(x) > 4:
                solids.append(_vehicle(rng, next(numbers), x, y))
    return solids


def _tree(rng: np.random.Generator, x: float, y: float) -> list[Solid]:
    height, crown = rng.uniform(1.5, 3), rng.uniform(2, 5)
    return [
        Solid("cylinder", TRUNK, 0, x, y, (0.4, 0.4, height + 0.5)),
        Solid("ball", VEGETATION, 0, x, y, (crown, crown, crown), above=height),
    ]


def _vehicle(rng: np.random.Generator, number: int, x: float, y: float) -> Solid:
    kind, turn = rng.random(), rng.normal(0, 0.05)
    if kind < 0.8:
        size = (rng.uniform(3.6, 4.8), rng.uniform(1.6, 1.9), rng.uniform(1.35, 1.7))
        return Solid("box", CAR, number, x, y, size, turn)
    if kind < 0.9:
        size = (rng.uniform(6, 9), 2.4, rng.uniform(2.6, 3.4))
        return Solid("box", TRUCK, number, x, y, size, turn)
    return Solid("box", BICYCLIST, number, x, y, (1.7, 0.5, 1.7), turn)


def _distance_to_box(rays: np.ndarray, solid: Solid) -> np.ndarray:
    """Range at which each ray enters a box; infinite where it does not."""
    cos, sin = np.cos(solid.turn), np.sin(solid.turn)
    to_box = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    half = np.array(solid.size) / 2
    center = to_box @ np.array([solid.x, solid.y, solid.above + half[2] - SCANNER])
    along = rays @ to_box.T
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    first, second = (center - half) / along, (center + half) / along
    enter = np.minimum(first, second).max(axis=1)
    leave = np.maximum(first, second).min(axis=1)
    return np.where((enter > 0) & (enter < leave), enter, np.inf)


def _distance_to_cylinder(rays: np.ndarray, solid: Solid) -> np.ndarray:
    """Range at which each ray meets the side of an upright cylinder."""
    x, y, _ = rays.T
    t = _roots(x**2 + y**2, x * solid.x + y * solid.y, solid, solid.x**2 + solid.y**2)
    low = solid.above - SCANNER
    z = np.where(np.isfinite(t), t, 0) * rays[:, 2]
    return np.where((z >= low) & (z <= low + solid.size[2]), t, np.inf)


def _distance_to_ball(rays: np.ndarray, solid: Solid) -> np.ndarray:
    center = np.array([solid.x, solid.y, solid.above + solid.size[2] / 2 - SCANNER])
    return _roots(np.ones(len(rays)), rays @ center, solid, center @ center)


def _roots(a: np.ndarray, b: np.ndarray, solid: Solid, c: float) -> np.ndarray:
    """The smaller solution of a t**2 - 2 b t + c = r**2; infinite without a positive one."""
    root = b**2 - a * (c - (solid.size[0] / 2) ** 2)
    t = (b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-9)
    return np.where((root > 0) & (t > 0), t, np.inf)


_DISTANCES = {
    "box": _distance_to_box,
    "cylinder": _distance_to_cylinder,
    "ball": _distance_to_ball,
}


def write_lidar_streets(root: Path, count: int, *, processes: int = 1, seed: int = 0) -> None:
    """Write ``root/sequences/00`` to ``10`` with so many scans each, completely or not at all.

    Raises:
        InputError: if ``root`` holds anything but such scans.
    """
    if root.exists() and not (root / MARKER).is_file() and any(root.iterdir()):
        raise InputError(f"{root} is not empty and holds no painted scans; give another folder.")
    numbers = sorted(number for numbers in SPLITS.values() for number in numbers)
    with replacing_folder(root) as new:
        for number in numbers:
            for part in ("velodyne", "labels"):
                (new / "sequences" / number / part).mkdir(parents=True)
        jobs = [(number, i) for number in numbers for i in range(count)]
        for _ in map_images(partial(_write_scan, new, seed), jobs, processes, "scanning streets"):
            pass  # it is written
        (new / MARKER).write_text(f"Painted by efficientps-d2 streets --lidar, seed {seed}.\n")


def _write_scan(root: Path, seed: int, job: tuple[str, int]) -> None:
    number, i = job
    points, labels = scan_street(np.random.default_rng([seed, int(number), i]))
    sequence = root / "sequences" / number
    (sequence / "velodyne" / f"{i:06d}.bin").write_bytes(points.tobytes())
    write_point_labels(sequence / "labels" / f"{i:06d}.label", labels)
