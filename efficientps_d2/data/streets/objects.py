"""What stands in a painted street, each thing as one polygon with details.

Coordinates on the ground are metres: ``x`` to the right, ``z`` away from the camera, ``y`` up.
"""

from dataclasses import dataclass, field

import numpy as np

HEIGHT, WIDTH = 256, 512  # pixels
CAMERA_HEIGHT = 2.2  # metres over the road
FOCAL_LENGTH = 330.0  # pixels
NEAR = 0.8  # metres, the nearest that is seen
SPEED = 3.0  # metres in a second, of the camera in a moving scene

Color = tuple[float, float, float]


@dataclass
class Item:
    """Something painted and labelled as one polygon, with unlabelled details inside it."""

    label: str
    depth: float
    outline: np.ndarray  # (N, 2) pixels
    color: Color
    details: list[tuple[np.ndarray, Color]] = field(default_factory=list)
    texture: float = 4.0  # standard deviation of the surface's noise
    number: int = 0  # of a moving scene: the same in all frames, from 1


class Camera:
    """Pinhole camera with a random horizon, which may drive ahead."""

    def __init__(self, rng: np.random.Generator, time: float = 0.0):
        """
        Args:
            rng: random numbers of the scene.
            time: seconds since the beginning of a moving scene.
        """
        self.horizon = rng.uniform(88, 118)
        self.center = WIDTH / 2 + rng.uniform(-50, 50)
        self.time = time

    def ahead(self, z, speed: float = 0.0):
        """Where something is by now that began at ``z`` and drives ahead with ``speed`` (m/s)."""
        return z + (speed - SPEED) * self.time

    def project(self, x, y, z) -> np.ndarray:
        """Ground coordinates, from the camera, to (N, 2) pixels."""
        x, y, z = np.broadcast_arrays(np.asarray(x, float), y, np.maximum(z, NEAR))
        scale = FOCAL_LENGTH / z
        v = self.horizon + (CAMERA_HEIGHT - y) * scale
        return np.stack([self.center + x * scale, v], axis=-1).reshape(-1, 2)

    def shape(self, points, x: float, z: float, flip: bool = False) -> np.ndarray:
        """A flat shape given as (sideways, up) metres, standing at (x, z)."""
        points = np.asarray(points, float)
        return self.project(x + points[:, 0] * (-1 if flip else 1), points[:, 1], z)


def tone(rng: np.random.Generator, base: Color, spread: int = 18) -> Color:
    return tuple(float(np.clip(c + rng.integers(-spread, spread + 1), 5, 250)) for c in base)


def darker(color: Color, factor: float) -> Color:
    return tuple(c * factor for c in color)


def make_building(camera: Camera, rng, x: float, near: float, far: float, side: int) -> list[Item]:
    """The facade along the street, and the wall that closes the gap behind it."""
    height = rng.uniform(6, 16)
    paints = [(150, 110, 90), (180, 165, 140), (125, 125, 130), (165, 90, 75), (200, 190, 170)]
    color = tone(rng, paints[rng.integers(len(paints))])
    back = camera.project([x, x, x + side * 30, x + side * 30], [0, height, height, 0], far)
    front = camera.project(x, [0, height, height, 0], [near, near, far, far])
    facade = Item("building", near, front, color)
    glass = tone(rng, (70, 80, 95))
    for z in np.arange(near + 1, far - 1.5, 3.0):
        for y in np.arange(1.5, height - 1.5, 3.0):
            pane = camera.project(x, [y, y + 1.5, y + 1.5, y], [z, z, z + 1.4, z + 1.4])
            facade.details.append((pane, glass))
    return [Item("building", far, back, darker(color, 0.85)), facade]


def blob(rng, center, radius: float, flatness: float = 1.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    radii = radius * rng.uniform(0.75, 1.15, 18)
    return np.asarray(center) + np.stack(
        [np.cos(angles) * radii, np.sin(angles) * radii * flatness], axis=-1
    )


def make_tree(camera: Camera, rng, x: float, z: float) -> Item:
    scale = FOCAL_LENGTH / z
    radius = rng.uniform(1.6, 3.4)
    center = camera.project(x, rng.uniform(2.0, 4.5), z)[0]
    color = tone(rng, (70, 105, 55), 22)
    crown = Item("vegetation", z, blob(rng, center, radius * scale), color, texture=12)
    for _ in range(8):
        spot = center + rng.normal(0, radius * scale * 0.4, 2)
        shade = darker(color, rng.uniform(0.75, 1.25))
        crown.details.append((blob(rng, spot, radius * scale * 0.2), shade))
    return crown


def make_car(camera: Camera, rng, x: float, z: float) -> Item:
    """A car seen from behind or the front: body, windscreen, lamps, plate, wheels."""
    width, height = rng.uniform(1.65, 1.95), rng.uniform(1.4, 1.8)
    w, waist = width / 2, height * 0.55
    outline = [(-w, 0.15), (-w, waist), (-w * 0.78, height), (w * 0.78, height), (w, waist)]
    outline += [(w, 0.15), (w * 0.9, 0), (w * 0.6, 0), (w * 0.55, 0.2), (-w * 0.55, 0.2)]
    outline += [(-w * 0.6, 0), (-w * 0.9, 0)]
    paints = [(170, 30, 30), (35, 60, 130), (190, 190, 195), (35, 35, 40), (225, 225, 225)]
    paints += [(60, 95, 70), (120, 120, 125)]
    color = tone(rng, paints[rng.integers(len(paints))])
    car = Item("car", z, camera.shape(outline, x, z), color, texture=3)

    def part(points, paint):
        car.details.append((camera.shape(points, x, z), paint))

    part(
        [
            (-w * 0.84, waist),
            (-w * 0.68, height * 0.93),
            (w * 0.68, height * 0.93),
            (w * 0.84, waist),
        ],
        (45, 55, 65),
    )
    lamp = (225, 60, 45) if rng.random() < 0.5 else (240, 235, 210)
    for side in (-1, 1):
        part(_box(side * w * 0.8, waist * 0.8, w * 0.16, 0.08), lamp)
        part(_box(side * w * 0.75, 0.1, w * 0.14, 0.1), (20, 20, 20))
    part(_box(0, 0.45, 0.26, 0.07), (230, 230, 220))
    return car


def _box(x: float, y: float, half_width: float, half_height: float) -> np.ndarray:
    return np.array(
        [
            (x - half_width, y - half_height),
            (x - half_width, y + half_height),
            (x + half_width, y + half_height),
            (x + half_width, y - half_height),
        ]
    )


def _head(radius: float, y: float) -> list[tuple[float, float]]:
    angles = np.linspace(-0.35 * np.pi, 1.35 * np.pi, 10)
    return [(radius * np.cos(a), y + radius * np.sin(a)) for a in angles]


def make_person(camera: Camera, rng, x: float, z: float) -> Item:
    """A standing or walking person: legs, torso, head."""
    tall, stride = rng.uniform(0.9, 1.08), rng.uniform(0.05, 0.3)
    outline = [(-stride - 0.1, 0), (-0.2, 0.85), (-0.29, 0.9), (-0.25, 1.4), (-0.08, 1.45)]
    outline += _head(0.14, 1.6)[::-1]
    outline += [(0.08, 1.45), (0.25, 1.4), (0.29, 0.9), (0.2, 0.85), (stride + 0.1, 0)]
    outline += [(stride - 0.08, 0), (0, 0.7), (-stride + 0.08, 0)]
    trousers, shirt = tone(rng, (60, 60, 80), 40), tone(rng, (140, 100, 100), 90)
    flip = rng.random() < 0.5

    def points(shape):
        return camera.shape(np.asarray(shape) * tall, x, z, flip)

    person = Item("person", z, points(outline), trousers, texture=3)
    torso = [(-0.2, 0.85), (-0.29, 0.9), (-0.25, 1.4), (0.25, 1.4), (0.29, 0.9), (0.2, 0.85)]
    person.details.append((points(torso), shirt))
    person.details.append((points(_head(0.13, 1.6)), tone(rng, (190, 150, 125), 40)))
    return person


def make_cyclist(camera: Camera, rng, x: float, z: float, with_rider: bool) -> list[Item]:
    """A bicycle seen from the side and, on it, a rider."""
    flip = rng.random() < 0.5

    def points(shape):
        return camera.shape(shape, x, z, flip)

    def wheel(center, radius):
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        return [(center + radius * np.cos(a), 0.34 + radius * np.sin(a)) for a in angles]

    outline = [(-0.85, 0.15), (-0.88, 0.4), (-0.7, 0.66), (-0.3, 0.95), (0.35, 1.0), (0.5, 0.9)]
    outline += [(0.72, 0.66), (0.88, 0.4), (0.85, 0.15), (0.6, 0), (0.4, 0.15), (-0.4, 0.15)]
    outline += [(-0.6, 0)]
    frame = tone(rng, (150, 60, 60), 90)
    bicycle = Item("bicycle", z, points(outline), tone(rng, (110, 110, 108), 10), texture=2)
    for center in (-0.54, 0.54):
        bicycle.details.append((points(wheel(center, 0.34)), (25, 25, 25)))
        bicycle.details.append((points(wheel(center, 0.25)), (125, 125, 122)))
    triangle = [(-0.54, 0.34), (-0.25, 0.8), (0.4, 0.82), (0.0, 0.3)]
    bicycle.details.append((points(triangle), frame))
    if not with_rider:
        return [bicycle]
    body = [(-0.05, 0.3), (-0.28, 0.85), (-0.3, 1.05), (-0.12, 1.5), (-0.05, 1.55)]
    body += [(p[0] + 0.05, p[1]) for p in _head(0.14, 1.7)[::-1]]
    body += [
        (0.15, 1.5),
        (0.45, 1.1),
        (0.4, 1.02),
        (0.1, 1.2),
        (0.05, 0.95),
        (0.2, 0.75),
        (0.1, 0.3),
    ]
    rider = Item("rider", z - 0.01, points(body), tone(rng, (130, 110, 90), 90), texture=3)
    legs = [(-0.05, 0.3), (-0.28, 0.85), (0.05, 0.95), (0.2, 0.75), (0.1, 0.3)]
    rider.details.append((points(legs), tone(rng, (50, 50, 65), 25)))
    helmet = [(p[0] + 0.05, p[1]) for p in _head(0.13, 1.7)]
    rider.details.append((points(helmet), tone(rng, (180, 160, 60), 60)))
    return [bicycle, rider]


def make_pole(camera: Camera, rng, x: float, z: float) -> list[Item]:
    """A pole, often with a sign."""
    tall = rng.uniform(3, 6)
    gray = tone(rng, (100, 102, 105), 25)
    pole = Item("pole", z, camera.shape(_box(0, tall / 2, 0.13, tall / 2), x, z), gray, texture=2)
    if rng.random() < 0.4:
        return [pole]
    y, r = rng.uniform(2.3, min(3.4, tall)), rng.uniform(0.42, 0.6)
    corners = int(rng.choice([3, 4, 16]))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + np.pi / 2
    plate = np.stack([np.cos(angles) * r, y + np.sin(angles) * r], axis=-1)
    color = [(190, 35, 35), (35, 70, 170), (225, 190, 40)][rng.integers(3)]
    sign = Item("traffic sign", z - 0.01, camera.shape(plate, x, z), tone(rng, color), texture=2)
    middle = (plate - [0, y]) * 0.55 + [0, y]
    sign.details.append((camera.shape(middle, x, z), (230, 230, 225)))
    return [pole, sign]
