"""Damaged and hostile sources: one sentence or a reported repair, and nothing outside DEST."""

import io
import json
import random
import shutil
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from import_sources import (
    SIZE,
    datumaro_shape,
    labelme_mask,
    labelme_shape,
    read_split,
    rectangle,
    run,
    write_cityscapes,
    write_cvat,
    write_datumaro,
    write_image,
    write_labelme,
    write_voc,
)
from PIL import Image

ROAD = labelme_shape("road", rectangle(0, 6, 16, 12))
CVAT_ROAD = '<polygon label="road" points="0,6;16,6;16,12;0,12" z_order="0"/>'
DATUMARO_ROAD = datumaro_shape("polygon", 0, points=[0, 6, 16, 6, 16, 12, 0, 12])
MASK = np.ones((2, 3), dtype=bool)


def make_labelme(source):
    write_labelme(source, [ROAD])


def make_cvat(source):
    write_cvat(source, CVAT_ROAD)


def make_datumaro(source):
    write_datumaro(source, [DATUMARO_ROAD])


def make_voc(source):
    write_voc(source, np.ones(SIZE, dtype=int), np.zeros(SIZE, dtype=int))


def make_cityscapes(source):
    write_cityscapes(source, np.full(SIZE, 7))


MAKE = {
    "labelme": make_labelme,
    "cvat": make_cvat,
    "datumaro": make_datumaro,
    "voc-mask": make_voc,
    "cityscapes": make_cityscapes,
}


def labelme(*shapes, **changes):
    return lambda source: write_labelme(source, [ROAD, *shapes], **changes)


def cvat(shapes):
    return lambda source: write_cvat(source, CVAT_ROAD + shapes)


def datumaro(kind, **more):
    annotations = [DATUMARO_ROAD, datumaro_shape(kind, **{"label_id": 2, **more})]
    return lambda source: write_datumaro(source, annotations)


def edit(tool, pattern, change):
    """Write a good source, then change the bytes of the file that matches."""

    def write(source):
        MAKE[tool](source)
        (file,) = source.rglob(pattern)
        file.write_bytes(change(file.read_bytes()))

    return write


def replace_image(tool, pattern, image: Image.Image, **options):
    data = io.BytesIO()
    image.save(data, "PNG", **options)
    return edit(tool, pattern, lambda _: data.getvalue())


def polygon(points, **more):
    return labelme(labelme_shape("car", points, **more))


def masked(png):
    return labelme({**labelme_mask("car", MASK, 1, 1), "mask": png})


def huge_png() -> bytes:
    """A picture of 30000 x 30000 pixels in a few bytes."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def leave_out(pattern):
    def change(tool):
        def write(source):
            MAKE[tool](source)
            for file in source.rglob(pattern):
                shutil.rmtree(file) if file.is_dir() else file.unlink()

        return write

    return change


def link_outside(source):
    make_labelme(source)
    outside = source.parent / "outside.jpg"
    (source / "a.jpg").rename(outside)
    (source / "a.jpg").symlink_to(outside)


def two_jsons(source):
    make_labelme(source)
    shutil.copy(source / "a.json", source / "b.json")


def repeat_cvat_image(data: bytes) -> bytes:
    image = data[data.index(b"<image ") : data.index(b"</annotations>")]
    return data.replace(image, image * 2)


def repeat_item(data: bytes) -> bytes:
    content = json.loads(data)
    content["items"] *= 2
    return json.dumps(content).encode()


def files(**contents):
    def write(source):
        source.mkdir()
        for name, text in contents.items():
            (source / name.replace("_", ".")).write_text(text)

    return write


def zip_file(source):
    with zipfile.ZipFile(source, "w") as f:
        f.writestr("a.json", "{}")


def zip_in_folder(source):
    source.mkdir()
    zip_file(source / "export.zip")


def many_shapes(source):
    file = write_labelme(source, [ROAD])
    file.write_text(file.read_text().replace('"shapes": [', '"shapes": [' + "{}, " * 1_000_000, 1))


BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<annotations>&b;</annotations>"
)
EXTERNAL = b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'
VOC_BOXES = (
    "<annotation><filename>a.jpg</filename><object><name>car</name><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
)
CREATE_ML = (
    '[{"image": "a.jpg", "annotations": [{"label": "car", "coordinates": '
    '{"x": 5, "y": 5, "width": 3, "height": 3}}]}]'
)

GREY_16 = Image.fromarray(np.full(SIZE, 900, dtype=np.uint16))
INF, NAN = float("inf"), float("nan")

# tool, how its source is made, and the sentence
REFUSED = {
    "truncated JPEG": ("labelme", edit("labelme", "a.jpg", lambda d: d[:400]), "a.jpg cannot be"),
    "truncated PNG": ("cvat", edit("cvat", "a.png", lambda d: d[:300]), "a.png cannot be read"),
    "empty picture": ("labelme", edit("labelme", "a.jpg", lambda d: b""), "a.jpg cannot be read"),
    "text as picture": ("labelme", edit("labelme", "a.jpg", lambda d: b"hi"), "cannot be read"),
    "PostScript": (
        "labelme",
        edit("labelme", "a.jpg", lambda d: b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        "re",
    ),
    "bomb": ("cvat", edit("cvat", "a.png", lambda d: huge_png()), "exceeds limit"),
    "bomb in truth": (
        "cityscapes",
        edit("cityscapes", "*Ids.png", lambda d: huge_png()),
        "exceeds",
    ),
    "16-bit picture": ("cvat", replace_image("cvat", "a.png", GREY_16), "convert it to 8-bit RGB"),
    "missing picture": (
        "labelme",
        leave_out("a.jpg")("labelme"),
        "a.jpg, which is not in .*put it",
    ),
    "missing picture, cvat": ("cvat", leave_out("images")("cvat"), "export with images"),
    "missing picture, datumaro": (
        "datumaro",
        leave_out("images")("datumaro"),
        "export with images",
    ),
    "missing picture, voc": ("voc-mask", leave_out("JPEGImages")("voc-mask"), "has no picture"),
    "missing picture, city": ("cityscapes", leave_out("left*")("cityscapes"), "has no picture"),
    "wrong size": ("labelme", labelme(imageWidth=17), "16 x 12 pixels, but a.json tells 17 x 12"),
    "absurd size": ("labelme", labelme(imageWidth="x", imageHeight=-3), "has the size 'x' x -3"),
    "picture is a number": ("labelme", labelme(imagePath=5), 'has no "imagePath"'),
    "absolute path": ("labelme", labelme(imagePath="/etc/passwd"), "'/etc/passwd', which is not"),
    "Windows path": ("labelme", labelme(imagePath="C:\\x\\y.jpg"), "y.jpg', which is not inside"),
    "path upwards": ("labelme", labelme(imagePath="../../etc/passwd"), "which is not inside"),
    "absolute path, cvat": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"/etc/passwd"')),
        "which is not inside",
    ),
    "path upwards, cvat": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"../../../a.png"')),
        "which is not inside",
    ),
    "path upwards, datumaro": (
        "datumaro",
        edit("datumaro", "*.json", lambda d: d.replace(b'"a.jpg"', b'"../../../../a.jpg"')),
        "which is not inside",
    ),
    "id upwards, datumaro": (
        "datumaro",
        lambda source: write_datumaro(source, [], id="../../../../a", image={"path": ""}),
        "which is not inside",
    ),
    "zero byte in path": ("labelme", labelme(imagePath="a\0.jpg"), "put it there"),
    "endless path": ("labelme", labelme(imagePath="a/" * 5000), "put it there"),
    "two pictures of that name": (
        "labelme",
        lambda s: (write_image(s / "b" / "x.jpg"), labelme(name="c/x.jpg", imagePath="x/x.jpg")(s)),
        "b/x.jpg and c/x.jpg both have its name",
    ),
    "link outside": ("labelme", link_outside, "is a link out of"),
    "two annotations of a picture": ("labelme", two_jsons, "annotated twice, in a.json and in b.j"),
    "image twice, cvat": ("cvat", edit("cvat", "*.xml", repeat_cvat_image), "annotated twice"),
    "same id twice": ("datumaro", edit("datumaro", "*.json", repeat_item), 'the id "a" of another'),
    "truncated JSON": ("labelme", edit("labelme", "*.json", lambda d: d[:90]), "not valid JSON"),
    "truncated JSON, datumaro": (
        "datumaro",
        edit("datumaro", "*.json", lambda d: d[:-9]),
        "default.json is not valid JSON",
    ),
    "empty JSON": ("labelme", edit("labelme", "*.json", lambda d: b""), "not valid JSON"),
    "not UTF-8": (
        "labelme",
        edit("labelme", "*.json", lambda d: d.replace(b'"road"', b'"stra\xdfe"')),
        "is not in UTF-8 .*save it in UTF-8",
    ),
    "deep JSON": (
        "labelme",
        edit("labelme", "*.json", lambda d: b"[" * 200_000 + b"]" * 200_000),
        "nested too deeply",
    ),
    "absurd number": (
        "labelme",
        edit("labelme", "*.json", lambda d: d.replace(b": 12", b": 1" + b"0" * 9000)),
        "absurd number",
    ),
    "million shapes": ("labelme", many_shapes, "1000001 shapes in one picture"),
    "NaN": ("labelme", polygon([[NAN, 1], [5, 5], [1, 5]]), "not pairs of numbers"),
    "infinity": ("labelme", polygon([[INF, 1], [5, 5], [1, 5]]), "not pairs of numbers"),
    "infinite circle": ("labelme", polygon([[3, 3], [3, -INF]], shape_type="circle"), "not pairs"),
    "huge number": ("labelme", polygon([[1, 1], [10**400, 5], [1, 5]]), "not pairs of numbers"),
    "far away": ("labelme", polygon([[1, 1], [1e9, 5], [1, 5]]), "reaches far out of any picture"),
    "endless outline": ("labelme", polygon([[0, 0], [9e5, 0]] * 3), "reaches far out of any"),
    "CVAT mask far away": (
        "cvat",
        cvat('<mask label="car" rle="0,8" left="1e300" top="0" width="4" height="2"/>'),
        "reaches far out of any picture",
    ),
    "huge circle": (
        "labelme",
        polygon([[3, 3], [9e5, 9e5]], shape_type="circle"),
        "far out of any",
    ),
    "words": ("labelme", polygon([["a", "b"], [5, 5], [1, 5]]), "a.json, shape 2, has points"),
    "triples": ("labelme", polygon([[1, 1, 1], [5, 5, 5], [1, 5, 5]]), "not pairs of numbers"),
    "ragged points": ("labelme", polygon([[1, 1], [5], [1, 5]]), "not pairs of numbers"),
    "points are a number": ("labelme", polygon(7), "not pairs of numbers"),
    "points are an object": ("labelme", polygon({"x": 1}), "not pairs of numbers"),
    "label is a number": ("labelme", labelme({"label": 5, "points": []}), "has no label"),
    "shape is a list": ("labelme", labelme([1, 2]), "shape 2, has no label"),
    "group is a list": ("labelme", polygon(rectangle(1, 1, 3, 3), group=[1]), "the group_id"),
    "broken base64": ("labelme", masked("?"), "not base64"),
    "no mask": ("labelme", masked(None), "not base64"),
    "mask is no PNG": (
        "labelme",
        masked("aGk="),
        "mask cann",
    ),
    "mask without points": (
        "labelme",
        labelme({**labelme_mask("car", MASK, 1, 1), "points": []}),
        "with 0 points, not two",
    ),
    "mask of another size": (
        "labelme",
        labelme({**labelme_mask("car", MASK, 1, 1), "points": [[1, 1], [9, 9]]}),
        "mask of 3 x 2 pixels in a box of 9 x 9",
    ),
    "entity bomb": ("cvat", edit("cvat", "*.xml", lambda d: BOMB), "defines XML entities"),
    "external entity": ("cvat", edit("cvat", "*.xml", lambda d: EXTERNAL), "defines XML entities"),
    "truncated XML": ("cvat", edit("cvat", "*.xml", lambda d: d[:200]), "not valid XML"),
    "unknown encoding": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b"utf-8", b"klingon")),
        "not valid XML",
    ),
    "video": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b"<version>1.1</version>", b"<track/>")),
        "is of a vid",
    ),
    "CVAT without size": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b"width", b"breadth")),
        "has the size None x '12'",
    ),
    "CVAT words": ("cvat", cvat('<polygon label="car" points="a,b;c,d"/>'), "not pairs of numbers"),
    "CVAT odd points": (
        "cvat",
        cvat('<polygon label="car" points="1,2;3"/>'),
        "not pairs of numbers",
    ),
    "CVAT box without corner": ("cvat", cvat('<box label="car" xtl="1"/>'), '"ytl" is None'),
    "CVAT box of NaN": (
        "cvat",
        cvat('<box label="car" xtl="nan" ytl="1" xbr="3" ybr="3"/>'),
        "\"xtl\" is 'nan'",
    ),
    "CVAT turn of words": (
        "cvat",
        cvat('<box label="car" xtl="1" ytl="1" xbr="3" ybr="3" rotation="left"/>'),
        "\"rotation\" is 'left'",
    ),
    "CVAT mask too short": (
        "cvat",
        cvat('<mask label="car" rle="1,2" left="0" top="0" width="4" height="2"/>'),
        "run lengths of 3 pixels for 4 x 2",
    ),
    "CVAT mask negative": (
        "cvat",
        cvat('<mask label="car" rle="9,-1" left="0" top="0" width="4" height="2"/>'),
        "run lengths that are no lengths",
    ),
    "CVAT mask of words": (
        "cvat",
        cvat('<mask label="car" rle="a" left="0" top="0" width="4" height="2"/>'),
        "run lengths that are no lengths",
    ),
    "CVAT mask without end": (
        "cvat",
        cvat('<mask label="car" rle="1" left="0" top="0" width="1000000" height="1000000"/>'),
        "mask has the size",
    ),
    "RLE too long": (
        "datumaro",
        datumaro("mask", rle={"counts": [100, 100], "size": list(SIZE)}),
        "run lengths of 200 pixels for 16 x 12",
    ),
    "RLE negative": (
        "datumaro",
        datumaro("mask", rle={"counts": [193, -1], "size": list(SIZE)}),
        "run lengths that are no lengths",
    ),
    "RLE negative, compressed": (
        "datumaro",
        datumaro("mask", rle={"counts": "@O", "size": list(SIZE)}),
        "run lengths that are no lengths",
    ),
    "RLE of strange letters": (
        "datumaro",
        datumaro("mask", rle={"counts": "\u1234 ", "size": list(SIZE)}),
        "damaged run lengths",
    ),
    "RLE without end": (
        "datumaro",
        datumaro("mask", rle={"counts": "o" * 10**6, "size": list(SIZE)}),
        "damaged run lengths",
    ),
    "RLE of another size": (
        "datumaro",
        datumaro("mask", rle={"counts": [8], "size": [2, 4]}),
        "another size than its image",
    ),
    "no RLE": ("datumaro", datumaro("mask"), "has the size None x None"),
    "RLE is a number": (
        "datumaro",
        datumaro("mask", rle={"counts": 5, "size": [12, 16]}),
        "no len",
    ),
    "unknown label id": (
        "datumaro",
        datumaro("polygon", points=[1, 1, 3, 1, 3, 3], label_id=9),
        "9",
    ),
    "points is a word": ("datumaro", datumaro("polygon", points="abc"), "no list of points"),
    "half a point": (
        "datumaro",
        datumaro("polygon", points=[1, 1, 3, 1, 3]),
        "not pairs of numbers",
    ),
    "box of three": ("datumaro", datumaro("bbox", bbox=[1, 1, 3]), "not pairs of numbers"),
    "box of six": ("datumaro", datumaro("bbox", bbox=[1, 1, 3, 4, 5, 6]), "3 points, not two"),
    "group of words": ("datumaro", datumaro("bbox", bbox=[1, 1, 3, 3], group="a"), "the group 'a'"),
    "z_order of words": ("datumaro", datumaro("bbox", bbox=[1, 1, 3, 3], z_order="a"), "z_order"),
    "no labels": (
        "datumaro",
        edit("datumaro", "*.json", lambda d: d.replace(b'"label"', b'"lable"')),
        "lists no labels",
    ),
    "items is a word": (
        "datumaro",
        lambda s: files(a_json='{"categories": {"label": {"labels": []}}, "items": "x"}')(s),
        'no list "items"',
    ),
    "no labelmap": ("voc-mask", leave_out("labelmap.txt")("voc-mask"), "has no labelmap.txt"),
    "damaged labelmap": (
        "voc-mask",
        edit("voc-mask", "labelmap.txt", lambda d: d + b"\ncar:12,300,x::"),
        "write LABEL:R,G,B",
    ),
    "colour of two labels": (
        "voc-mask",
        edit("voc-mask", "labelmap.txt", lambda d: d + b"\nvan:0,0,128::"),
        "the colour of another label",
    ),
    "colour without label": (
        "voc-mask",
        edit("voc-mask", "labelmap.txt", lambda d: d.replace(b"road:128,0,0::", b"")),
        "has the colour 128,0,0, which labelmap.txt does not list",
    ),
    "no objects": ("voc-mask", leave_out("SegmentationObject")("voc-mask"), "has no counterpart"),
    "maps of two sizes": (
        "voc-mask",
        replace_image("voc-mask", "SegmentationObject/*", Image.new("RGB", (3, 3))),
        "differ in size",
    ),
    "16-bit colours": (
        "voc-mask",
        replace_image("voc-mask", "SegmentationClass/*", GREY_16),
        "has 16 bits per pixel",
    ),
    "JPEG as truth": (
        "voc-mask",
        edit("voc-mask", "SegmentationClass/*", lambda d: b"\xff\xd8\xff\xe0"),
        "cannot be read as an image",
    ),
    "colours as ids": (
        "cityscapes",
        replace_image("cityscapes", "*Ids.png", Image.new("RGB", SIZE[::-1])),
        "is not a grey PNG of instance ids",
    ),
    "unknown Cityscapes id": (
        "cityscapes",
        replace_image("cityscapes", "*Ids.png", Image.new("L", SIZE[::-1], 99)),
        "the label id 99, which is not in the table",
    ),
    "ids of another size": (
        "cityscapes",
        replace_image("cityscapes", "*Ids.png", Image.new("L", (3, 3), 7)),
        "16 x 12 pixels, but .* tells 3 x 3",
    ),
    "boxes of labelImg": ("cvat", files(a_xml=VOC_BOXES), "holds boxes .Pascal VOC.* detector"),
    "boxes, wrong tool": ("labelme", files(a_xml=VOC_BOXES), "holds boxes .Pascal VOC"),
    "boxes of YOLO": ("labelme", files(a_txt="0 0.5 0.5 0.25 0.3\n"), "holds boxes .YOLO"),
    "boxes of CreateML": ("datumaro", files(a_json=CREATE_ML), "holds boxes .CreateML"),
    "empty folder": ("labelme", files(), "holds no labelme JSON files"),
    "empty folder, cvat": ("cvat", files(), "holds no annotations.xml"),
    "empty folder, datumaro": ("datumaro", files(), "holds no annotations"),
    "empty folder, voc": ("voc-mask", files(), "holds no SegmentationClass"),
    "empty folder, city": ("cityscapes", files(), "holds no .*_gtFine_instanceIds.png"),
    "zip": ("labelme", zip_file, "is a zip file; unpack it"),
    "zip in a folder": ("cvat", zip_in_folder, "export.zip is a zip file; unpack it"),
    "file": ("labelme", lambda source: source.write_text("hi"), "is a file; give the folder"),
    "nothing": ("labelme", lambda source: None, "does not exist"),
}

# tool, how its source is made, and what is printed; the road is imported all the same
REPAIRED = {
    "no points": ("labelme", polygon([]), "cover no pixel of their picture were left out: 1"),
    "one point": ("labelme", polygon([[5, 5]]), "cover no pixel"),
    "two points": ("labelme", polygon([[5, 5], [9, 9]]), "cover no pixel"),
    "circle of one point": ("labelme", polygon([[5, 5]], shape_type="circle"), "cover no pixel"),
    "empty rectangle": (
        "labelme",
        polygon([[5, 5], [5, 9]], shape_type="rectangle"),
        "cover no pix",
    ),
    "empty polygon": ("labelme", polygon([[5, 5]] * 4), "cover no pixel"),
    "flat polygon": ("labelme", polygon([[2, 2], [5, 5], [9, 9]]), "cover no pixel"),
    "outside": ("labelme", polygon(rectangle(40, 2, 44, 5)), "cover no pixel"),
    "outside, left": ("labelme", polygon(rectangle(-9, 2, -4, 5)), "cover no pixel"),
    "mask outside": ("labelme", labelme(labelme_mask("car", MASK, 99, 1)), "cover no pixel"),
    "mask outside, left": ("labelme", labelme(labelme_mask("car", MASK, -9, 1)), "cover no pixel"),
    "mask without pixels": ("labelme", labelme(labelme_mask("car", ~MASK, 1, 1)), "cover no pixel"),
    "outside, cvat": (
        "cvat",
        cvat('<polygon label="car" points="40,2;44,2;44,5"/>'),
        "cover no pix",
    ),
    "no points, cvat": ("cvat", cvat('<polygon label="car" points=""/>'), "cover no pixel"),
    "mask of nothing": (
        "datumaro",
        datumaro("mask", rle={"counts": [192], "size": list(SIZE)}),
        "cover no pixel",
    ),
    "empty label": ("labelme", labelme(labelme_shape("", rectangle(1, 1, 3, 3))), "(no label) (1)"),
    "no label, cvat": ("cvat", cvat('<polygon points="1,2;4,2;4,5"/>'), "(no label) (1)"),
    "no label, datumaro": (
        "datumaro",
        lambda s: write_datumaro(
            s, [DATUMARO_ROAD, datumaro_shape("bbox", None, bbox=[1, 1, 3, 3])]
        ),
        "(no label) (1)",
    ),
    "another JSON": (
        "labelme",
        lambda s: (make_labelme(s), files_into(s, "coco.json", '{"images": []}')),
        'without a list "shapes" were left out: 1 (coco.json)',
    ),
    "broken EXIF": ("labelme", lambda s: broken_exif(s), "pictures"),
    "grey picture": (
        "cvat",
        replace_image("cvat", "a.png", Image.new("L", SIZE[::-1])),
        "pictures",
    ),
    "palette picture": (
        "cvat",
        replace_image("cvat", "a.png", Image.new("P", SIZE[::-1]), transparency=0),
        "pictures",
    ),
}


def files_into(source, name, text):
    (source / name).write_text(text)


def broken_exif(source):
    write_image(source / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x63")
    write_labelme(source, [ROAD])


def snapshot(folder: Path) -> dict:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if "mine" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize("case", REFUSED)
def test_damage_is_one_sentence(tmp_path, case):
    tool, write, message = REFUSED[case]
    write(tmp_path / "source")
    before = snapshot(tmp_path)
    with pytest.raises(SystemExit, match=message) as error:
        run(tool, tmp_path / "source", tmp_path / "mine")
    sentence = str(error.value)
    assert sentence.startswith("Error: ") and sentence.endswith(".") and "\n" not in sentence
    assert snapshot(tmp_path) == before and not (tmp_path / "mine").exists()


@pytest.mark.parametrize("case", REPAIRED)
def test_repairs_are_reported(tmp_path, case, capsys):
    tool, write, message = REPAIRED[case]
    write(tmp_path / "source")
    before = snapshot(tmp_path)
    run(tool, tmp_path / "source", tmp_path / "mine")
    assert message in capsys.readouterr().out
    (truth,) = read_split(tmp_path / "mine" / "train").values()
    assert [s["name"] for s in truth.segments] == ["road"] and truth.segments[0]["area"] == 96
    assert snapshot(tmp_path) == before


def test_self_crossing_polygon_keeps_both_halves(tmp_path):
    bow = labelme_shape("car", [[2, 2], [10, 10], [10, 2], [2, 10]])
    write_labelme(tmp_path / "source", [bow])
    run("labelme", tmp_path / "source", tmp_path / "mine")
    (truth,) = read_split(tmp_path / "mine" / "train").values()
    (mask,) = truth.objects("car")
    assert mask[6, 2] and mask[6, 9] and not mask[2, 6] and not mask[9, 6]


@pytest.mark.parametrize("tool", MAKE)
def test_random_damage_never_ends_in_a_traceback(tmp_path, tool):
    """Bytes are changed, cut out or doubled in every file; only sentences may come out."""
    rng = random.Random(tool)
    MAKE[tool](tmp_path / "good")
    refused = 0
    for i in range(60):
        source = tmp_path / "source"
        shutil.copytree(tmp_path / "good", source)
        file = rng.choice(sorted(f for f in source.rglob("*") if f.is_file()))
        data = bytearray(file.read_bytes())
        at = rng.randrange(len(data))
        length = rng.choice([1, 1, 1, 4, 40])
        data[at : at + length] = rng.choice([b"", rng.randbytes(length), data[at : at + 9] * 3])
        file.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about odd files
            try:
                run(tool, source, tmp_path / f"mine{i}")
            except SystemExit as error:
                refused += 1
                assert str(error).startswith("Error: ")
                assert not (tmp_path / f"mine{i}").exists()
        shutil.rmtree(source)
        shutil.rmtree(tmp_path / f"mine{i}", ignore_errors=True)
    assert 0 < refused < 60 and [f.name for f in tmp_path.iterdir()] == ["good"]
