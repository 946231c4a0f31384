"""The checker: every kind of problem is found, named and repaired; its numbers are right."""

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import write_dataset
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from panopticapi.utils import id2rgb, rgb2id
from PIL import Image

from efficientps_d2 import register_cityscapes_layout
from efficientps_d2.dataset_check import check_dataset
from efficientps_d2.dataset_problems import BY_HAND, KINDS, LEFT_OUT
from efficientps_d2.dataset_repair import repair_segments
from efficientps_d2.dataset_source import Category, find_dataset, read_source
from efficientps_d2.picture_check import measure_segments
from efficientps_d2.streets import make_streets

TOOL = Path(__file__).parent.parent / "tools" / "check_dataset.py"
spec = importlib.util.spec_from_file_location("check_dataset", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

IMAGE, TRUTH = "images/sub/picture.0.jpg", "panoptic/truth_0.png"


def run(*arguments) -> int:
    return tool.main([*map(str, arguments), "--processes", "1"])


def problems(folder) -> list:
    return check_dataset(read_source(find_dataset(str(folder)))).problems


def files(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit_json(folder, change) -> None:
    path = folder / "panoptic.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_truth(folder, change) -> None:
    """Change the map of segment ids of the first picture in place."""
    pan_seg = rgb2id(np.asarray(Image.open(folder / TRUTH)))
    change(pan_seg)
    Image.fromarray(id2rgb(pan_seg)).save(folder / TRUTH)


def in_json(change):
    return lambda folder: edit_json(folder, change)


def in_segment(**values):
    """Change the first segment of the first picture; a value of None takes the key away."""

    def change(content):
        segment = content["annotations"][0]["segments_info"][0]
        segment.update(values)
        for key in [key for key, value in values.items() if value is None]:
            del segment[key]

    return in_json(change)


def as_image(mode, dtype=None):
    """Write the first image again, in another mode of Pillow."""

    def write(folder):
        image = Image.open(folder / IMAGE)
        if dtype:
            image = Image.fromarray(np.asarray(image.convert("L")).astype(dtype) * 200)
        else:
            image = image.convert(mode)
        image.save(folder / IMAGE, format="PNG" if mode != "CMYK" else "JPEG")

    return write


def as_truth(mode, file_format="PNG"):
    def write(folder):
        Image.open(folder / TRUTH).convert(mode).save(folder / TRUTH, format=file_format)

    return write


def truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:300])


def smaller_truth(folder):
    Image.open(folder / TRUTH).crop((0, 0, 160, 90)).save(folder / TRUTH)


def split_stuff(folder):
    edit_truth(folder, lambda pan_seg: np.copyto(pan_seg[:5, :5], 9))
    pan_seg = rgb2id(np.asarray(Image.open(folder / TRUTH)))

    def change(content):
        segments = content["annotations"][0]["segments_info"]
        sky = next(s for s in segments if s["id"] == 1)
        sky["area"] = int((pan_seg == 1).sum())
        segments.append({**sky, "id": 9, "area": 25})

    edit_json(folder, change)


def only_void(folder):
    edit_truth(folder, lambda pan_seg: pan_seg.fill(0))
    edit_json(folder, lambda c: c["annotations"][0].update(segments_info=[]))


def without_kind(isthing):
    def change(content):
        ids = {c["id"] for c in content["categories"] if c["isthing"] == isthing}
        for annotation in content["annotations"]:
            segments = annotation["segments_info"]
            annotation["segments_info"] = [s for s in segments if s["category_id"] not in ids]

    return in_json(change)


def same_stem(folder):
    (folder / "images" / "other").mkdir()
    shutil.copy(folder / "images/sub/picture.1.png", folder / "images/other/picture.0.png")
    edit_json(folder, lambda c: c["images"][1].update(file_name="other/picture.0.png"))


# name: (damage, kind of the problem, what its file ends with)
JSON = "panoptic.json"
CASES = {
    "missing image": (lambda f: (f / IMAGE).unlink(), "missing file", IMAGE),
    "missing PNG": (lambda f: (f / TRUTH).unlink(), "missing file", TRUTH),
    "folder as image": (
        lambda f: ((f / IMAGE).unlink(), (f / IMAGE).mkdir()),
        "missing file",
        IMAGE,
    ),
    "truncated image": (truncate(IMAGE), "unreadable file", IMAGE),
    "truncated PNG": (truncate(TRUTH), "unreadable file", TRUTH),
    "text as PNG": (lambda f: (f / TRUTH).write_text("ids"), "unreadable file", TRUTH),
    "empty image": (lambda f: (f / IMAGE).write_bytes(b""), "unreadable file", IMAGE),
    "size mismatch": (smaller_truth, "size mismatch", TRUTH),
    "wrong JSON size": (
        in_json(lambda c: c["images"][0].update(height=90)),
        "wrong size in the JSON",
        IMAGE,
    ),
    "text as JSON size": (
        in_json(lambda c: c["images"][0].update(height="96")),
        "wrong size in the JSON",
        IMAGE,
    ),
    "zero JSON size": (
        in_json(lambda c: c["images"][0].update(height=0, width=0)),
        "wrong size in the JSON",
        IMAGE,
    ),
    "half a JSON size": (
        in_json(lambda c: c["images"][0].pop("width")),
        "wrong size in the JSON",
        IMAGE,
    ),
    "no JSON size": (
        in_json(lambda c: (c["images"][0].pop("width"), c["images"][0].pop("height"))),
        "no size in the JSON",
        IMAGE,
    ),
    "16-bit image": (as_image("I;16", np.uint16), "image mode that loses values", IMAGE),
    "float image": (
        lambda f: Image.fromarray(np.zeros((96, 160), np.float32)).save(f / IMAGE, format="TIFF"),
        "image mode that loses values",
        IMAGE,
    ),
    "palette image": (as_image("P"), "image mode that is converted", IMAGE),
    "CMYK image": (as_image("CMYK"), "image mode that is converted", IMAGE),
    "gray image": (as_image("L"), "image mode that is converted", IMAGE),
    "palette PNG": (as_truth("P"), "PNG of another mode", TRUTH),
    "gray PNG": (as_truth("L"), "PNG of another mode", TRUTH),
    "JPEG as PNG": (as_truth("RGB", "JPEG"), "PNG of another mode", TRUTH),
    "unlisted id": (
        lambda f: edit_truth(f, lambda p: np.copyto(p[:3, -2:], 12345)),
        "unlisted id",
        TRUTH,
    ),
    "listed without pixels": (
        in_json(
            lambda c: c["annotations"][0]["segments_info"].append(
                {"id": 77, "category_id": 26, "area": 0, "iscrowd": 0}
            )
        ),
        "empty segment",
        TRUTH,
    ),
    "several stuff segments": (split_stuff, "duplicate stuff segment", TRUTH),
    "wrong area": (in_segment(area=1), "wrong area", TRUTH),
    "NaN area": (in_segment(area=float("nan")), "wrong area", TRUTH),
    "no area": (in_segment(area=None), "wrong area", TRUTH),
    "wrong box": (in_segment(bbox=[0, 0, 1, 1]), "wrong box", TRUTH),
    "text as box": (in_segment(bbox="1 2 3 4"), "wrong box", TRUTH),
    "no iscrowd": (in_segment(iscrowd=None), "iscrowd missing", TRUTH),
    "text as iscrowd": (in_segment(iscrowd="no"), "damaged segment", TRUTH),
    "text as segment id": (in_segment(id="1"), "damaged segment", TRUTH),
    "void as segment id": (in_segment(id=0), "damaged segment", TRUTH),
    "too large segment id": (in_segment(id=256**3), "damaged segment", TRUTH),
    "fraction as segment id": (in_segment(id=1.5), "damaged segment", TRUTH),
    "segment without category": (in_segment(category_id=None), "damaged segment", TRUTH),
    "list as category": (in_segment(category_id=[26]), "damaged segment", TRUTH),
    "segment of numbers": (
        in_json(lambda c: c["annotations"][0].update(segments_info=[1, None])),
        "damaged segment",
        TRUTH,
    ),
    "unknown category": (in_segment(category_id=999), "unknown category", TRUTH),
    "text as known category": (in_segment(category_id="26"), "unknown category", TRUTH),
    "the same segment id": (
        in_json(
            lambda c: c["annotations"][0]["segments_info"].append(
                dict(c["annotations"][0]["segments_info"][0])
            )
        ),
        "duplicate segment id",
        TRUTH,
    ),
    "only void": (only_void, "nothing labelled", TRUTH),
    "null segments": (
        in_json(lambda c: c["annotations"][0].update(segments_info=None)),
        "damaged annotation",
        JSON,
    ),
    "null annotation": (
        in_json(lambda c: c["annotations"].append(None)),
        "damaged annotation",
        JSON,
    ),
    "annotation of an unknown image": (
        in_json(lambda c: c["annotations"][0].update(image_id="x")),
        "annotation without image",
        JSON,
    ),
    "image without annotation": (
        in_json(lambda c: c["annotations"].pop(0)),
        "image without annotation",
        JSON,
    ),
    "two annotations of one image": (
        in_json(lambda c: c["annotations"][1].update(image_id="i0")),
        "several annotations",
        JSON,
    ),
    "no annotations": (in_json(lambda c: c.update(annotations=[])), "no pictures", JSON),
    "the same image id": (
        in_json(lambda c: c["images"][1].update(id="i0")),
        "duplicate image id",
        JSON,
    ),
    "the same image name": (same_stem, "duplicate image name", JSON),
    "image of text": (in_json(lambda c: c["images"].append("x.jpg")), "damaged image entry", JSON),
    "image without a file": (
        in_json(lambda c: c["images"][0].pop("file_name")),
        "damaged image entry",
        JSON,
    ),
    "list as image id": (
        in_json(lambda c: c["images"][0].update(id=[1])),
        "damaged image entry",
        JSON,
    ),
    "image outside": (
        in_json(lambda c: c["images"][0].update(file_name="../../secret.png")),
        "path outside the data set",
        "secret.png",
    ),
    "absolute path": (
        in_json(lambda c: c["annotations"][0].update(file_name="/etc/passwd")),
        "path outside the data set",
        "/etc/passwd",
    ),
    "category without a name": (
        in_json(lambda c: c["categories"][0].pop("name")),
        "damaged category",
        JSON,
    ),
    "category of text": (in_json(lambda c: c["categories"].append("x")), "damaged category", JSON),
    "list as category name": (
        in_json(lambda c: c["categories"][0].update(name=["road"])),
        "damaged category",
        JSON,
    ),
    "text as isthing": (
        in_json(lambda c: c["categories"][0].update(isthing="0")),
        "damaged category",
        JSON,
    ),
    "the same category id": (
        in_json(lambda c: c["categories"].append({"id": 26, "name": "lane", "isthing": 0})),
        "duplicate category id",
        JSON,
    ),
    "the same category name": (
        in_json(lambda c: c["categories"].append({"id": 1, "name": "road", "isthing": 0})),
        "duplicate category name",
        JSON,
    ),
    "no thing classes": (
        in_json(lambda c: [k.update(isthing=0) for k in c["categories"]]),
        "class list",
        JSON,
    ),
    "no stuff classes": (
        in_json(lambda c: [k.update(isthing=1) for k in c["categories"]]),
        "class list",
        JSON,
    ),
    "no things": (without_kind(1), "nothing to learn", JSON),
    "no stuff": (without_kind(0), "nothing to learn", JSON),
}


@pytest.mark.parametrize("case", CASES)
def test_every_problem_is_found_named_and_repaired(tmp_path, capsys, case):
    damage, kind, file = CASES[case]
    folder = write_dataset(tmp_path / "data")
    damage(folder)
    before = files(folder)
    found = problems(folder)
    assert any(p.kind == kind and p.file.endswith(file) for p in found), found
    status = run(folder)
    out = capsys.readouterr().out
    assert f": {kind}: " in out and file in out
    assert status == int(any(KINDS[p.kind].is_error for p in found))
    if KINDS[kind].is_error:
        assert status == 1

    assert run(folder, "--fix", tmp_path / "fixed") == status
    out = capsys.readouterr().out
    assert files(folder) == before and not (tmp_path / "fixed.partial").exists()
    repairs = {KINDS[p.kind].repair for p in found}
    assert ("Left out because of" in out) == (LEFT_OUT in repairs)
    assert ("Not repaired because of" in out) == (BY_HAND in repairs)
    left = problems(tmp_path / "fixed")
    if BY_HAND not in repairs and case != "no annotations":
        assert run(tmp_path / "fixed") == 0
        assert not [p for p in left if KINDS[p.kind].is_error], left
    if KINDS[kind].repair == BY_HAND:
        assert kind in {p.kind for p in left}, "nothing that needs a decision is hidden"


def test_every_kind_has_a_case():
    tested = {kind for _, kind, _ in CASES.values()}
    assert tested | {"category that differs", "Cityscapes layout"} == set(KINDS)


def test_sound_data_have_no_problems_and_the_copy_is_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    assert run(folder, "--fix", tmp_path / "fixed" / "train") == 0
    assert "0 error(s), 0 warning(s)" in capsys.readouterr().out
    source = {path.relative_to(folder): content for path, content in files(folder).items()}
    copy = tmp_path / "fixed" / "train"
    copied = {path.relative_to(copy): content for path, content in files(copy).items()}
    assert source == copied


def test_all_problems_of_a_set_are_found_at_once(tmp_path):
    folder = write_dataset(tmp_path / "data")
    for case in ("truncated image", "unlisted id", "no iscrowd", "category without a name"):
        CASES[case][0](folder)
    edit_json(folder, lambda c: c["annotations"][1].update(file_name="none.png"))
    kinds = {p.kind for p in problems(folder)}
    assert kinds >= {
        *("unreadable file", "unlisted id", "iscrowd missing", "damaged category"),
        "missing file",
    }


def test_files_outside_are_not_opened(tmp_path, monkeypatch):
    """Neither by the check nor by the repair; links in the data set may lead anywhere."""
    folder = write_dataset(tmp_path / "data")
    outside = tmp_path / "secret.png"
    shutil.copy(folder / "images/sub/picture.1.png", outside)
    edit_json(folder, lambda c: c["images"][0].update(file_name="../../secret.png"))
    edit_json(folder, lambda c: c["images"][1].update(file_name=str(outside)))
    (folder / "images" / "link.jpg").symlink_to(folder / IMAGE)
    edit_json(folder, lambda c: c["images"][2].update(file_name="link.jpg"))
    opened = []
    real_open = Image.open
    monkeypatch.setattr(Image, "open", lambda f, *a: opened.append(str(f)) or real_open(f, *a))
    assert run(folder, "--fix", tmp_path / "fixed") == 1
    assert opened and not any("secret" in name for name in opened)
    copied = [path.name for path in (tmp_path / "fixed" / "images").rglob("*.*")]
    assert copied == ["link.jpg"]
    inside = [p.file for p in problems(folder) if p.kind == "path outside the data set"]
    assert len(inside) == 2


def test_strange_names_are_printed_harmlessly(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")
    edit_json(folder, lambda c: c["images"][0].update(file_name="a\n\x1b[2J\ud800\0.jpg"))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert r"a\n\x1b[2J\ud800\x00.jpg: does not exist" in out


DAMAGED_JSON = {
    "a list": b"[]",
    "a number": b"7",
    "no JSON": b"{",
    "empty": b"",
    "not UTF-8": b'{"images": ["\xff\xfe"], "annotations": [], "categories": []}',
    "deep": b"[" * 100_000,
    "no categories": b'{"images": [], "annotations": []}',
    "null images": b'{"images": null, "annotations": [], "categories": []}',
}


@pytest.mark.parametrize("case", DAMAGED_JSON)
def test_damaged_json_is_one_sentence(tmp_path, capsys, case):
    folder = write_dataset(tmp_path / "data")
    (folder / "panoptic.json").write_bytes(DAMAGED_JSON[case])
    assert run(folder) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and error.count("\n") == 1 and "panoptic.json" in error


def test_wrong_usage_is_status_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    folder = write_dataset(tmp_path / "data")
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(folder / "panoptic.json", "panoptic.json")
    exists = "exists already"
    for arguments, message in (
        (["nothing_train"], '"nothing_train" is neither'),
        ([archive], "is neither a registered data set nor a folder"),
        ([folder / "images"], "is neither"),
        (["coco_2017_train"], "has no panoptic annotations"),
        ([folder, "--config-file", "none.yaml"], "none.yaml"),
        ([folder, "--fix", folder], exists),
        ([folder, "--fix", archive], exists),
        ([folder, "--fix", folder / "fixed"], "lies in the data set itself"),
        ([folder, "--fix", archive / "fixed"], "Not a directory"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("Error: ") and message in error
    (tmp_path / "new.partial").mkdir()
    assert run(folder, "--fix", tmp_path / "new") == 2
    for arguments in (["--processes", "0"], ["--draw", "-1"], ["--nonsense"], []):
        with pytest.raises(SystemExit) as stop:
            tool.main([str(folder), *arguments] if arguments else [])
        assert stop.value.code == 2


def test_an_interrupted_repair_leaves_nothing(tmp_path, capsys, monkeypatch):
    folder = write_dataset(tmp_path / "data")
    copy = shutil.copyfile

    def interrupted(source, target):
        if "truth_1" in str(target):
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    assert run(folder, "--fix", tmp_path / "fixed") == 130
    assert "Stopped" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_thousands_of_problems_do_not_flood(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data")

    def many(content):
        segments = content["annotations"][0]["segments_info"]
        segments += [{"id": 1000 + i, "category_id": 26} for i in range(3000)]

    edit_json(folder, many)
    edit_truth(folder, lambda p: np.copyto(p, np.arange(p.size).reshape(p.shape) + 10**6))
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert "Error: empty segment: 300" in out and "more; --all prints them" in out
    assert "15360 id(s) with 15360 pixels are not in the JSON: 1000000, 1000001" in out
    assert len(out.splitlines()) < 70
    run(folder, "--all")
    assert len(capsys.readouterr().out.splitlines()) > 3000


def test_several_processes_find_the_same(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", count=9)
    for case in ("truncated image", "wrong area"):
        CASES[case][0](folder)
    run(folder, "--fix", tmp_path / "one")
    alone = capsys.readouterr().out
    assert tool.main([str(folder), "--fix", str(tmp_path / "two"), "--processes", "2"]) == 1
    assert capsys.readouterr().out.replace("two", "one") == alone
    names = [
        {path.relative_to(root): content for path, content in files(root).items()}
        for root in (tmp_path / "one", tmp_path / "two")
    ]
    assert names[0] == names[1]


@pytest.fixture
def unregister():
    """Forget what a test registers."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_registered_names_in_both_layouts(tmp_path, capsys, monkeypatch, unregister):
    """A folder by its name; Cityscapes with images by id and classes from the registration."""
    make_streets(tmp_path / "streets", splits={"val": 1})
    register_cityscapes_layout("painted_val", str(tmp_path / "streets"), "val")
    assert run("painted_val", "--fix", tmp_path / "copy") == 0
    assert "vegetation" in capsys.readouterr().out
    assert not problems(tmp_path / "copy")
    json_file = tmp_path / "streets/gtFine/cityscapes_panoptic_val.json"
    content = json.loads(json_file.read_text())
    road = next(c for c in content["categories"] if c["name"] == "road")
    road["isthing"] = 1
    json_file.write_text(json.dumps(content))
    assert run("painted_val") == 1
    out = capsys.readouterr().out
    assert "category that differs: 1 " in out and "road, is not among those of painted_val" in out

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "sets"))
    (tmp_path / "sets" / "berries").mkdir(parents=True)
    write_dataset(tmp_path / "sets" / "berries" / "check")
    edit_json(tmp_path / "sets/berries/check", lambda c: c["categories"][0].pop("name"))
    assert run("berries_check") == 1
    assert "damaged category: 1 " in capsys.readouterr().out


def test_cityscapes_without_label_files(tmp_path, capsys, monkeypatch):
    make_streets(tmp_path / "data.v1", splits={"val": 1})
    metadata = MetadataCatalog.get("cityscapes_fine_panoptic_val")
    for key in ("image_root", "panoptic_root", "panoptic_json", "gt_dir"):
        inside = getattr(metadata, key).rpartition("cityscapes/")[2]
        monkeypatch.setitem(vars(metadata), key, str(tmp_path / "data.v1" / inside))
    assert run("cityscapes_fine_panoptic_val") == 1
    out = capsys.readouterr().out
    assert "Cityscapes layout: 1 " in out and "contains a dot" in out and "1 error(s)" in out


def test_statistics_agree_with_a_slow_count(tmp_path, capsys):
    folder = write_dataset(tmp_path / "data", "mixed", more_classes=["tree"])
    edit_json(folder, lambda c: c["annotations"][0]["segments_info"][-1].update(iscrowd=1))
    content = json.loads((folder / "panoptic.json").read_text())
    kinds = {c["id"]: c["isthing"] for c in content["categories"]}
    counts = {id_: [0, 0, 0] for id_ in kinds}
    sizes, stuff, most, void = [], [], 0, 0
    for annotation in content["annotations"]:
        pan_seg = rgb2id(np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])))
        void += int((pan_seg == 0).sum())
        things = 0
        for segment in annotation["segments_info"]:
            ys, xs = np.nonzero(pan_seg == segment["id"])
            counts[segment["category_id"]][1] += 1
            counts[segment["category_id"]][2] += len(ys)
            if not kinds[segment["category_id"]]:
                stuff.append(len(ys))
            elif not segment["iscrowd"]:
                things += 1
                sizes.append(np.sqrt((np.ptp(ys) + 1) * (np.ptp(xs) + 1)))
        most = max(most, things)
        for id_ in {s["category_id"] for s in annotation["segments_info"]}:
            counts[id_][0] += 1
    statistics = check_dataset(read_source(find_dataset(str(folder)))).statistics
    assert statistics.classes == {id_: count for id_, count in counts.items() if any(count)}
    assert (statistics.void, statistics.pixels) == (void, 3 * 96 * 160)
    assert sorted(statistics.things[:, 0]) == pytest.approx(sorted(sizes))
    assert (statistics.things[:, 1:] == (96, 160)).all()
    assert sorted(statistics.stuff) == sorted(stuff)
    assert statistics.pictures[:, 2].max() == most
    run(folder)
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    names = {c["name"]: c["id"] for c in content["categories"]}
    for name, id_ in names.items():
        assert rows[name][2:5] == [str(n) for n in counts[id_]]
        assert rows[name][5] == f"{counts[id_][2] / statistics.pixels:.2%}"
    assert rows["void"][1:] == [str(void), f"{void / statistics.pixels:.2%}"]


def test_sizes_against_anchors(tmp_path, capsys):
    """Things of 10, 20 and 40 px, doubled by the config, against anchors of 32 and 64."""
    folder = write_dataset(tmp_path / "data", count=1)
    pan_seg = np.ones((96, 160), dtype=int)
    for i, size in enumerate((10, 20, 40)):
        pan_seg[:size, 50 * i : 50 * i + size] = 2 + i
    Image.fromarray(id2rgb(pan_seg)).save(folder / TRUTH)
    segments = [
        {"id": i, "category_id": 26 if i == 1 else 103, "area": int((pan_seg == i).sum())}
        for i in range(1, 5)
    ]
    edit_json(folder, lambda c: c["annotations"][0].update(segments_info=segments))
    config = tmp_path / "config.yaml"
    config.write_text(
        "MODEL: {ANCHOR_GENERATOR: {SIZES: [[32], [64]]}}\n"
        "INPUT: {MIN_SIZE_TRAIN: [96], MAX_SIZE_TRAIN: 320, SCALE_JITTER: [1.5, 2.5]}\n"
    )
    run(folder, "--config-file", config)
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["share", "of", "things", "33.3%", "33.3%", "33.3%"] in rows
    quantiles = {row[0]: row[-1] for row in rows if row and row[0] in ("as", "resized")}
    assert quantiles == {"as": "40", "resized": "80"}


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements={
    "min_value": 0, "max_value": 4}))  # fmt: skip
def test_measured_segments(pan_seg):
    segments = measure_segments(pan_seg)
    assert segments.ids.tolist() == sorted(set(pan_seg.ravel().tolist()))
    for id_, area, box in zip(*segments, strict=True):
        ys, xs = np.nonzero(pan_seg == id_)
        assert area == len(ys)
        assert box.tolist() == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.int32, (5, 6), elements={"min_value": 0, "max_value": 7}),
    st.permutations(range(1, 8)),
    st.integers(0, 7),
)
def test_repaired_segments(pan_seg, ids, count):
    """Each pixel keeps its class if it had one; ids are unique, stuff has one segment a class."""
    categories = {1: Category("road", False), 2: Category("sky", False), 3: Category("car", True)}
    segments = [{"id": id_, "category_id": 1 + id_ % 3} for id_ in ids[:count]]
    classes = np.zeros(8, dtype=int)
    for segment in segments:
        classes[segment["id"]] = segment["category_id"]
    new, repaired = repair_segments(pan_seg, segments, categories)
    new_classes = np.zeros(8, dtype=int)
    for segment in repaired:
        new_classes[segment["id"]] = segment["category_id"]
        mask = new == segment["id"]
        ys, xs = np.nonzero(mask)
        assert segment["area"] == len(ys) > 0 and segment["iscrowd"] == 0
        assert segment["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        if segment["category_id"] == 3:
            assert (mask == (pan_seg == segment["id"])).all(), "things stay as they are"
    assert (new_classes[new] == classes[pan_seg]).all()
    stuff = [s["category_id"] for s in repaired if s["category_id"] != 3]
    assert len(set(stuff)) == len(stuff)
    assert set(np.unique(new)) - {0} == {s["id"] for s in repaired}


def test_drawings(tmp_path, capsys, monkeypatch):
    """Also of pictures with problems; none of pictures that cannot be read."""
    monkeypatch.chdir(tmp_path)
    folder = write_dataset(tmp_path / "berries" / "train")
    for case in ("the same segment id", "unlisted id", "text as isthing"):
        CASES[case][0](folder)
    (folder / "images/sub/picture.1.png").unlink()
    run(folder, "--draw", 5)
    assert "Drew 2 picture(s) into output/check/berries_train" in capsys.readouterr().out
    drawn = sorted((tmp_path / "output/check/berries_train").iterdir())
    assert [path.name for path in drawn] == ["picture.0.png", "picture.2.png"]
    truth = np.asarray(Image.open(drawn[1]))[-150:]
    assert len(np.unique(truth.reshape(-1, 3), axis=0)) > 50
