"""Sources of an import with one thing wrong; each function returns one that writes a folder."""

import io
import json
import shutil
import struct
import zipfile
import zlib

import numpy as np
from import_sources import (
    SIZE,
    datumaro_shape,
    labelme_mask,
    labelme_shape,
    rectangle,
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
    """An image of 30000 x 30000 pixels in a few bytes."""

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
COCO = '{"images": [], "annotations": [], "categories": []}'
LABELME_3 = (
    "<annotation><filename>a.jpg</filename><object><name>car</name><polygon><pt><x>1</x><y>1</y>"
    "</pt></polygon></object></annotation>"
)
CREATE_ML = (
    '[{"image": "a.jpg", "annotations": [{"label": "car", "coordinates": '
    '{"x": 5, "y": 5, "width": 3, "height": 3}}]}]'
)

GREY_16 = Image.fromarray(np.full(SIZE, 900, dtype=np.uint16))
INF, NAN = float("inf"), float("nan")


def files_into(source, name, text):
    (source / name).write_text(text)


def broken_exif(source, data: bytes, name="a.jpg"):
    write_image(source / name, exif=b"Exif\0\0" + data)
    write_labelme(source, [ROAD], name)
