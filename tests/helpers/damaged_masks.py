"""Damage in sources of Datumaro 1.0, Pascal VOC masks and Cityscapes."""

from damaged_sources import (
    COCO,
    CREATE_ML,
    DATUMARO_ROAD,
    GREY_16,
    datumaro,
    edit,
    files,
    huge_png,
    leave_out,
    repeat_item,
    replace_image,
)
from import_sources import SIZE, datumaro_shape, write_datumaro
from PIL import Image

# tool, how its source is made, and the sentence
REFUSED = {
    "missing image, datumaro": (
        "datumaro",
        leave_out("images")("datumaro"),
        "export with images",
    ),
    "path upwards, datumaro": (
        "datumaro",
        edit("datumaro", "*.json", lambda d: d.replace(b'"a.jpg"', b'"../../../../a.jpg"')),
        "default.json, item 1, names .*which is not inside",
    ),
    "id upwards, datumaro": (
        "datumaro",
        lambda source: write_datumaro(source, [], id="../../../../a", image={"path": ""}),
        "default.json, item 1, names .*which is not inside",
    ),
    "same id twice": ("datumaro", edit("datumaro", "*.json", repeat_item), 'the id "a" of another'),
    "truncated JSON, datumaro": (
        "datumaro",
        edit("datumaro", "*.json", lambda d: d[:-9]),
        "default.json is not valid JSON",
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
    "boxes of CreateML": ("datumaro", files(a_json=CREATE_ML), "holds boxes .CreateML"),
    "empty folder, datumaro": ("datumaro", files(), "holds no annotations"),
    "missing image, voc": ("voc-mask", leave_out("JPEGImages")("voc-mask"), "has no image"),
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
    "JPEG as ground truth": (
        "voc-mask",
        edit("voc-mask", "SegmentationClass/*", lambda d: b"\xff\xd8\xff\xe0"),
        "cannot be read as an image",
    ),
    "empty folder, voc": ("voc-mask", files(), "holds no SegmentationClass"),
    "bomb in ground truth": (
        "cityscapes",
        edit("cityscapes", "*Ids.png", lambda d: huge_png()),
        "more than 179 megapixels",
    ),
    "missing image, city": ("cityscapes", leave_out("left*")("cityscapes"), "has no image"),
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
        "16 x 12 pixels, but .* says 3 x 3",
    ),
    "empty folder, city": ("cityscapes", files(), "holds no .*_gtFine_instanceIds.png"),
    "only boxes, datumaro": (
        "datumaro",
        lambda s: write_datumaro(s, [datumaro_shape("bbox", 2, bbox=[1, 1, 3, 3])]),
        "source holds only boxes of these classes",
    ),
    "COCO, datumaro": ("datumaro", files(a_json=COCO), "a.json is in the format .COCO 1.0"),
    "class of the colour of the background": (
        "voc-mask",
        edit("voc-mask", "labelmap.txt", lambda d: d.replace(b"background:", b"car:")),
        "gives .car. the colour 0,0,0, which is void",
    ),
    "class of the colour of the border": (
        "voc-mask",
        edit("voc-mask", "labelmap.txt", lambda d: d + b"\nsky:224,224,192::"),
        "gives .sky. the colour 224,224,192, which is void",
    ),
}

# tool, how its source is made, and what is printed; the road is imported all the same
REPAIRED = {
    "mask of nothing": (
        "datumaro",
        datumaro("mask", rle={"counts": [192], "size": list(SIZE)}),
        "cover no pixel",
    ),
    "no label, datumaro": (
        "datumaro",
        lambda s: write_datumaro(
            s, [DATUMARO_ROAD, datumaro_shape("bbox", None, bbox=[1, 1, 3, 3])]
        ),
        "(no label) (1)",
    ),
}
