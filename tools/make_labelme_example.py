"""Write painted street scenes with annotations as labelme saves them, to try docs/CUSTOM_DATA.md.

python tools/make_labelme_example.py output/annotated
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2 import InputError
from efficientps_d2.data.checks.problems import shown
from efficientps_d2.data.importers.destination import replacing
from efficientps_d2.data.streets.scene import paint_scene


def write_example(folder: Path, number: int) -> None:
    """Write scene_NN.jpg and scene_NN.json."""
    image, objects = paint_scene(np.random.default_rng([2026, number]))
    picture = folder / f"scene_{number:02d}.jpg"
    Image.fromarray(image).save(picture, quality=95)
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": item["label"],
                "points": item["polygon"],
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for item in objects
            if is_visible(item["polygon"], *image.shape[:2])
        ],
        "imagePath": picture.name,
        "imageData": None,
        "imageHeight": image.shape[0],
        "imageWidth": image.shape[1],
    }
    picture.with_suffix(".json").write_text(json.dumps(content, indent=1))


def is_visible(polygon: list, height: int, width: int) -> bool:
    """Whether any of it may lie in the picture: the painter also paints beside it."""
    (left, top), (right, bottom) = np.min(polygon, axis=0), np.max(polygon, axis=0)
    return left < width and right >= 0 and top < height and bottom >= 0


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dest", type=Path, help="new folder")
    parser.add_argument("--count", type=int, default=20, help="number of pictures")
    args = parser.parse_args(argv)
    try:
        if args.count < 1:
            raise InputError(f"--count is {args.count}; give 1 or more.")
        if args.dest.exists():
            raise InputError(f"{args.dest} exists already; give another folder.")
        with replacing(args.dest) as folder:
            for number in range(args.count):
                write_example(folder, number)
    except InputError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        sys.exit(f"Error: {shown(str(args.dest))} cannot be made ({error.strerror}); give another.")
    except KeyboardInterrupt:
        sys.exit(f"Error: stopped; {args.dest} was not made.")
    print(f"Wrote {args.count} pictures with their annotations to {args.dest}")


if __name__ == "__main__":
    main()
