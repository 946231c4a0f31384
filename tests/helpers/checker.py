"""The checker of datasets for tests, and ways to damage those of ``scenes.write_dataset``."""

import json
import shutil

import numpy as np
from panopticapi.utils import id2rgb, rgb2id
from PIL import Image
from project import run_verb

from efficientps_d2.data.checks.dataset import check_dataset
from efficientps_d2.data.checks.listing import find_dataset, read_listing

IMAGE, GROUND_TRUTH, JSON = "images/sub/picture.0.jpg", "panoptic/truth_0.png", "panoptic.json"


def run(*arguments) -> int:
    """The exit status of the tool."""
    return run_verb("check", *arguments, "--processes", "1")


def check(folder):
    """Source and result of a folder."""
    listing = read_listing(find_dataset(str(folder)))
    return listing, check_dataset(listing)


def files(folder) -> dict:
    """Content of each file by its path below ``folder``."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def edit_json(folder, change) -> None:
    path = folder / JSON
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_ground_truth(folder, change) -> None:
    """Change the map of segment ids of the first image in place."""
    pan_seg = rgb2id(np.asarray(Image.open(folder / GROUND_TRUTH)))
    change(pan_seg)
    Image.fromarray(id2rgb(pan_seg)).save(folder / GROUND_TRUTH)


def segments_of(content) -> list[dict]:
    return content["annotations"][0]["segments_info"]


def set_first(key, **values):
    """Set values of the first entry of a list of the JSON; ``...`` takes a key away."""

    def change(content):
        entry = segments_of(content)[0] if key == "segments" else content[key][0]
        entry.update(values)
        for name in [name for name, value in values.items() if value is ...]:
            del entry[name]

    return lambda folder: edit_json(folder, change)


def append(key, value):
    return lambda folder: edit_json(folder, lambda content: content[key].append(value))


def set_all(key, **values):
    return lambda folder: edit_json(folder, lambda c: [entry.update(values) for entry in c[key]])


def truncate(name, size=300):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def convert(name, mode, file_format="PNG"):
    def write(folder):
        Image.open(folder / name).convert(mode).save(folder / name, format=file_format)

    return write


def write_image(dtype, file_format):
    image = Image.fromarray(np.full((96, 160), 3000, dtype))
    return lambda folder: image.save(folder / IMAGE, format=file_format)


def turn(orientation):
    """Write the tag into the first image; its stored pixels stay as they are."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda folder: Image.open(folder / IMAGE).save(folder / IMAGE, exif=exif)


def image_is_a_folder(folder):
    (folder / IMAGE).unlink()
    (folder / IMAGE).mkdir()


def smaller_ground_truth(folder):
    Image.open(folder / GROUND_TRUTH).crop((0, 0, 160, 90)).save(folder / GROUND_TRUTH)


def unlisted_id(folder):
    edit_ground_truth(folder, lambda pan_seg: np.copyto(pan_seg[:3, -2:], 12345))


def split_stuff(folder):
    edit_ground_truth(folder, lambda pan_seg: np.copyto(pan_seg[:5, :5], 9))
    sky = int((rgb2id(np.asarray(Image.open(folder / GROUND_TRUTH))) == 1).sum())

    def change(content):
        first = next(s for s in segments_of(content) if s["id"] == 1)
        segments_of(content).append({**first, "id": 9, "area": 25})
        first["area"] = sky

    edit_json(folder, change)


def only_void(folder):
    edit_ground_truth(folder, lambda pan_seg: pan_seg.fill(0))
    set_first("annotations", segments_info=[])(folder)


def repeat_segment(folder):
    edit_json(folder, lambda content: segments_of(content).append(segments_of(content)[0]))


def without_kind(isthing):
    def change(content):
        ids = {c["id"] for c in content["categories"] if c["isthing"] == isthing}
        for annotation in content["annotations"]:
            segments = annotation["segments_info"]
            annotation["segments_info"] = [s for s in segments if s["category_id"] not in ids]

    return lambda folder: edit_json(folder, change)


def array_image(folder):
    np.save(folder / "images" / "picture.0.npy", np.zeros((96, 160, 4), np.float32))
    set_first("images", file_name="picture.0.npy")(folder)


def same_stem(folder):
    (folder / "images" / "other").mkdir()
    shutil.copy(folder / "images/sub/picture.1.png", folder / "images/other/picture.0.png")
    edit_json(folder, lambda content: content["images"][1].update(file_name="other/picture.0.png"))


EMPTY = {"id": 77, "category_id": 26, "area": 0, "iscrowd": 0}
OUTSIDE = "path outside the dataset"
LOSSY, CONVERTED = "image mode that loses values", "image mode that is converted"
WRONG_SIZE, NO_SIZE = "wrong size in the JSON", "no size in the JSON"
# Of each case: how to make it, the kind of its problem, and what the named file ends with.
CASES = {
    "missing image": (lambda f: (f / IMAGE).unlink(), "missing file", IMAGE),
    "missing PNG": (lambda f: (f / GROUND_TRUTH).unlink(), "missing file", GROUND_TRUTH),
    "folder as image": (image_is_a_folder, "missing file", IMAGE),
    "truncated image": (truncate(IMAGE), "unreadable file", IMAGE),
    "truncated PNG": (truncate(GROUND_TRUTH), "unreadable file", GROUND_TRUTH),
    "empty PNG": (truncate(GROUND_TRUTH, 0), "unreadable file", GROUND_TRUTH),
    "text as image": (lambda f: (f / IMAGE).write_text("a car"), "unreadable file", IMAGE),
    "size mismatch": (smaller_ground_truth, "size mismatch", GROUND_TRUTH),
    "wrong JSON size": (set_first("images", height=90), WRONG_SIZE, IMAGE),
    "text as JSON size": (set_first("images", height="96 px"), WRONG_SIZE, IMAGE),
    "zero JSON size": (set_first("images", height=0, width=0), WRONG_SIZE, IMAGE),
    "half a JSON size": (set_first("images", width=...), WRONG_SIZE, IMAGE),
    "no JSON size": (set_first("images", width=..., height=...), NO_SIZE, IMAGE),
    "16-bit image": (write_image(np.uint16, "PNG"), "image of 16 bits", IMAGE),
    "12-bit image": (write_image(np.uint16, "TIFF"), "values of fewer bits", IMAGE),
    "upside down": (turn(3), "EXIF orientation", IMAGE),
    "lying on the side": (turn(6), "EXIF orientation", IMAGE),
    "float image": (write_image(np.float32, "TIFF"), LOSSY, IMAGE),
    "array as image": (array_image, "image of bands", "images/picture.0.npy"),
    "palette image": (convert(IMAGE, "P"), CONVERTED, IMAGE),
    "CMYK image": (convert(IMAGE, "CMYK", "JPEG"), CONVERTED, IMAGE),
    "gray image": (convert(IMAGE, "L"), CONVERTED, IMAGE),
    "palette PNG": (convert(GROUND_TRUTH, "P"), "PNG of another mode", GROUND_TRUTH),
    "gray PNG": (convert(GROUND_TRUTH, "L"), "PNG of another mode", GROUND_TRUTH),
    "JPEG as PNG": (convert(GROUND_TRUTH, "RGB", "JPEG"), "PNG of another mode", GROUND_TRUTH),
    "unlisted id": (unlisted_id, "unlisted id", GROUND_TRUTH),
    "no pixels": (lambda f: edit_json(f, lambda c: segments_of(c).append(EMPTY)),
                  "empty segment", GROUND_TRUTH),
    "several stuff segments": (split_stuff, "duplicate stuff segment", GROUND_TRUTH),
    "wrong area": (set_first("segments", area=1), "wrong area", GROUND_TRUTH),
    "NaN area": (set_first("segments", area=float("nan")), "wrong area", GROUND_TRUTH),
    "no area": (set_first("segments", area=...), "wrong area", GROUND_TRUTH),
    "wrong box": (set_first("segments", bbox=[0, 0, 1, 1]), "wrong box", GROUND_TRUTH),
    "text as box": (set_first("segments", bbox="1 2 3 4"), "wrong box", GROUND_TRUTH),
    "no iscrowd": (set_first("segments", iscrowd=...), "iscrowd missing", GROUND_TRUTH),
    "null iscrowd": (set_first("segments", iscrowd=None), "iscrowd missing", GROUND_TRUTH),
    "text as iscrowd": (set_first("segments", iscrowd="no"), "damaged segment", GROUND_TRUTH),
    "text as segment id": (set_first("segments", id="one"), "damaged segment", GROUND_TRUTH),
    "void as segment id": (set_first("segments", id=0), "damaged segment", GROUND_TRUTH),
    "too large segment id": (set_first("segments", id=256**3), "damaged segment", GROUND_TRUTH),
    "fraction as segment id": (set_first("segments", id=1.5), "damaged segment", GROUND_TRUTH),
    "no category": (set_first("segments", category_id=...), "damaged segment", GROUND_TRUTH),
    "list as category": (set_first("segments", category_id=[26]), "damaged segment", GROUND_TRUTH),
    "bare segments": (
        set_first("annotations", segments_info=[1, None]),
        "damaged segment",
        GROUND_TRUTH,
    ),
    "unknown category": (set_first("segments", category_id=999), "unknown category", GROUND_TRUTH),
    "text as category": (
        set_first("segments", category_id="x26"),
        "unknown category",
        GROUND_TRUTH,
    ),
    "the same segment id": (repeat_segment, "duplicate segment id", GROUND_TRUTH),
    "only void": (only_void, "nothing labelled", GROUND_TRUTH),
    "null segments": (set_first("annotations", segments_info=None), "damaged annotation", JSON),
    "null annotation": (append("annotations", None), "damaged annotation", JSON),
    "unknown image": (set_first("annotations", image_id="x"), "annotation without image", JSON),
    "spare image": (append("images", {"id": 9, "file_name": "x.png"}), "image without annotation",
                    JSON),
    "two annotations": (set_first("annotations", image_id="i1"), "several annotations", JSON),
    "no annotations": (lambda f: edit_json(f, lambda c: c.update(annotations=[])), "no images",
                       JSON),
    "the same image id": (set_first("images", id="i1"), "duplicate image id", JSON),
    "the same image name": (same_stem, "duplicate image name", JSON),
    "text as image entry": (append("images", "x.jpg"), "damaged image entry", JSON),
    "image without a file": (set_first("images", file_name=...), "damaged image entry", JSON),
    "list as image id": (set_first("images", id=[1]), "damaged image entry", JSON),
    "true as image id": (set_first("images", id=True), "damaged image entry", JSON),
    "number as file": (set_first("images", file_name=7), "damaged image entry", JSON),
    "image outside": (set_first("images", file_name="../../no.png"), OUTSIDE, "no.png"),
    "absolute path": (set_first("annotations", file_name="/etc/passwd"), OUTSIDE, "/etc/passwd"),
    "nameless category": (set_first("categories", name=...), "damaged category", JSON),
    "text as category entry": (append("categories", "x"), "damaged category", JSON),
    "list as name": (set_first("categories", name=["road"]), "damaged category", JSON),
    "text as isthing": (set_first("categories", isthing="no"), "damaged category", JSON),
    "text as color": (set_first("categories", color="red"), "damaged category", JSON),
    "the same category id": (append("categories", {"id": 26, "name": "lane", "isthing": 0}),
                             "duplicate category id", JSON),
    "the same category name": (append("categories", {"id": 1, "name": "road", "isthing": 0}),
                               "duplicate category name", JSON),
    "no thing classes": (set_all("categories", isthing=0), "class list", JSON),
    "no stuff classes": (set_all("categories", isthing=1), "class list", JSON),
    "no things": (without_kind(1), "nothing to learn", JSON),
    "unused class": (append("categories", {"id": 1, "name": "lane", "isthing": 0}),
                     "class without segments", JSON),
    "no stuff": (without_kind(0), "nothing to learn", JSON),
}  # fmt: skip
