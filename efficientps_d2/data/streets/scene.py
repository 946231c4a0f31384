"""Painter of one street scene: objects laid out along a road and painted from far to near."""

import cv2
import numpy as np

from efficientps_d2.data.streets.objects import (
    HEIGHT,
    NEAR,
    SPEED,
    WIDTH,
    Camera,
    Item,
    blob,
    darker,
    make_building,
    make_car,
    make_cyclist,
    make_person,
    make_pole,
    make_tree,
    tone,
)

FAR = 120.0  # metres
NEAREST = 1.5  # metres; what stands nearer is beside or behind the camera
CAR_SPEED, CYCLIST_SPEED, WALKING_SPEED = 5.0, 2.5, 1.3  # metres in a second
MIN_VISIBLE_PIXELS = {"pole": 15, "traffic sign": 15}  # objects with less are left out; others 60


def paint_scene(rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Paint a scene.

    Returns:
        The image (256, 512, 3) uint8 RGB, and Cityscapes polygon objects (``label``, ``polygon``)
        in the order of painting.
    """
    items = place_items(rng)
    return photograph(paint_items(items, rng), rng), [
        {"label": item.label, "polygon": np.round(item.outline).astype(int).tolist()}
        for item in items
    ]


def place_items(rng: np.random.Generator, time: float = 0.0) -> list[Item]:
    """What is seen, in the order of painting.

    Args:
        rng: random numbers of the scene; the same ones for all times.
        time: seconds since the beginning of a moving scene.
    """
    camera = Camera(rng, time)
    road_half = rng.uniform(4.0, 6.0)
    pavement = rng.uniform(2.5, 4.5)
    surroundings = _ground(camera, rng, road_half, pavement)
    for side in (-1, 1):
        surroundings += _street_side(camera, rng, side * (road_half + pavement), side)
    objects = _traffic(camera, rng, road_half) + _pavement(camera, rng, road_half, pavement)
    for number, item in enumerate(objects, 1):
        item.number = number
    objects = [item for item in objects if item.depth >= NEAREST]
    objects.sort(key=lambda item: -item.depth)
    return surroundings + _drop_hidden(objects)


def _drop_hidden(items: list[Item]) -> list[Item]:
    """Leave out things that hardly anything is seen of."""
    visible = np.zeros((HEIGHT, WIDTH), np.int32)
    for i, item in enumerate(items, 1):
        cv2.fillPoly(visible, [np.round(item.outline).astype(np.int32)], i)
    pixels = np.bincount(visible.ravel(), minlength=len(items) + 1)[1:]
    return [
        item
        for item, count in zip(items, pixels, strict=True)
        if count >= MIN_VISIBLE_PIXELS.get(item.label, 60)
    ]


def paint_items(items: list[Item], rng: np.random.Generator) -> np.ndarray:
    """(256, 512, 3) float32 RGB of items, before a camera sees them."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for item in items:
        _paint(image, item, rng)
    return image


def _paint(image: np.ndarray, item: Item, rng: np.random.Generator) -> None:
    """Fill the outline with a noisy colour, lit from one side, then the details."""
    before = image.copy()
    cv2.fillPoly(image, [_fixed(item.outline)], item.color, cv2.LINE_AA, shift=4)
    for polygon, color in item.details:
        cv2.fillPoly(image, [_fixed(polygon)], color, cv2.LINE_AA, shift=4)
    mask = (image != before).any(axis=-1)
    coarse = rng.normal(0, item.texture, (HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    image[mask] += cv2.resize(coarse, (WIDTH, HEIGHT))[mask, None]


def _fixed(polygon: np.ndarray) -> np.ndarray:
    return np.round(np.clip(polygon, -4000, 4000) * 16).astype(np.int32)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, haze, blur and noise of a camera."""
    gain = rng.uniform(0.6, 1.2) * rng.uniform(0.92, 1.08, 3)
    slope = np.linspace(rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.2), WIDTH)
    image = image * gain.astype(np.float32) * slope.astype(np.float32)[None, :, None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    image = image + rng.normal(0, rng.uniform(2, 8), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _ground(camera: Camera, rng, road_half: float, pavement: float) -> list[Item]:
    """Sky, pavement, road with markings."""
    frame = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], float)
    skies = [(150, 185, 225), (200, 205, 210), (120, 160, 210), (225, 190, 160)]
    sky = Item("sky", FAR, frame, tone(rng, skies[rng.integers(len(skies))]))
    for _ in range(rng.integers(0, 5)):
        center = rng.uniform([0, 0], [WIDTH, 90])
        sky.details.append((blob(rng, center, rng.uniform(10, 45), 0.4), (228, 228, 230)))
    wide = camera.project([-200, 200, 200, -200], 0, [FAR, FAR, 0.8, 0.8])
    ground = Item("sidewalk", FAR, wide, tone(rng, (150, 140, 138)))
    near, far = NEAR, FAR
    lane = camera.project([-road_half, road_half, road_half, -road_half], 0, [far, far, near, near])
    road = Item("road", FAR, lane, tone(rng, (92, 92, 96), 14), texture=3)
    for z in _passing(camera, np.arange(3 + rng.uniform(0, 3), 60, 6), 6):
        mark = camera.project([-0.1, 0.1, 0.1, -0.1], 0, [z + 2.5, z + 2.5, z, z])
        road.details.append((mark, (205, 205, 200)))
    for z in _passing(camera, np.arange(4, 60, 2.5), 2.5):  # joints of the slabs
        for side in (-1, 1):
            x = np.array([road_half, road_half + pavement]) * side
            joint = camera.project([x[0], x[1], x[1], x[0]], 0, [z, z, z + 0.12, z + 0.12])
            ground.details.append((joint, darker(ground.color, 0.85)))
    return [sky, ground, road]


def _passing(camera: Camera, depths: np.ndarray, period: float) -> np.ndarray:
    """Where things that repeat along the road are by now."""
    return depths - (SPEED * camera.time) % period


def _street_side(camera: Camera, rng, x: float, side: int) -> list[Item]:
    """Buildings and trees behind the pavement, far to near."""
    items, z = [], FAR
    while z > 3:
        length = rng.uniform(6, 16) * max(1.0, z / 40)
        near = max(z - length, 1.5)
        if rng.random() < 0.65:
            items += make_building(camera, rng, x, camera.ahead(near), camera.ahead(z), side)
        else:
            for depth in camera.ahead(np.sort(rng.uniform(near, z, 2))[::-1]):
                away = x + side * rng.uniform(0.5, 3)
                tree = make_tree(camera, rng, away, max(depth, NEAREST))
                items += [tree] if depth >= NEAREST else []
        z = near if near > 1.5 else 0
    return items


def _traffic(camera: Camera, rng, road_half: float) -> list[Item]:
    """Cars parked at both kerbs and driving, cyclists near the kerb."""
    items = []
    for side in (-1, 1):
        z = rng.uniform(7, 16)
        while z < 40:
            if rng.random() < 0.55:
                items.append(make_car(camera, rng, side * (road_half - 1.1), camera.ahead(z)))
            z += rng.uniform(5.5, 10)
    for _ in range(rng.integers(0, 3)):
        x, z = rng.uniform(-1.5, 1.5), rng.uniform(9, 40)
        items.append(make_car(camera, rng, x, camera.ahead(z, CAR_SPEED if x > 0 else -CAR_SPEED)))
    for _ in range(rng.integers(0, 4)):
        x = rng.choice([-1, 1]) * (road_half - rng.uniform(2.2, 3.2))
        z = rng.uniform(7, 25)
        x += CYCLIST_SPEED * camera.time * (1 if x < 0 else -1)  # across the road
        items += make_cyclist(camera, rng, x, camera.ahead(z), with_rider=True)
    return items


def _pavement(camera: Camera, rng, road_half: float, pavement: float) -> list[Item]:
    """People, parked bicycles, poles and signs."""
    items = []
    for i in range(rng.integers(2, 9)):
        x = rng.choice([-1, 1]) * rng.uniform(road_half + 0.4, road_half + pavement - 0.3)
        z = rng.uniform(7, 34)
        if i % 2:  # across the road
            x += WALKING_SPEED * camera.time * (1 if x < 0 else -1)
        speed = (0, 0, WALKING_SPEED, 0)[i % 4]  # along it
        items.append(make_person(camera, rng, x, camera.ahead(z, speed)))
    for _ in range(rng.integers(0, 3)):
        x = rng.choice([-1, 1]) * rng.uniform(road_half + 0.8, road_half + pavement)
        z = rng.uniform(7, 20)
        items += make_cyclist(camera, rng, x, camera.ahead(z), with_rider=False)
    for side in (-1, 1):
        z = rng.uniform(6, 14)
        while z < 32:
            items += make_pole(camera, rng, side * (road_half + 0.3), camera.ahead(z))
            z += rng.uniform(8, 16)
    return items
