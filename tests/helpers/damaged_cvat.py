"""Damage in sources of CVAT for images."""

from damaged_sources import (
    BOMB,
    EXTERNAL,
    GREY_16,
    LABELME_3,
    VOC_BOXES,
    cvat,
    edit,
    files,
    huge_png,
    leave_out,
    repeat_cvat_image,
    replace_image,
    zip_in_folder,
)
from import_sources import SIZE, write_cvat, write_image
from PIL import Image

# tool, how its source is made, and the sentence
REFUSED = {
    "truncated PNG": ("cvat", edit("cvat", "a.png", lambda d: d[:300]), "a.png cannot be read"),
    "bomb": (
        "cvat",
        edit("cvat", "a.png", lambda d: huge_png()),
        "it has more than 179 megapixels",
    ),
    "16-bit image": ("cvat", replace_image("cvat", "a.png", GREY_16), "convert it to 8-bit RGB"),
    "missing image, cvat": ("cvat", leave_out("images")("cvat"), "export with images"),
    "two images for a frame": (
        "cvat",
        lambda s: (
            edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"a"'))(s),
            write_image(s / "images" / "a.jpg"),
        ),
        "image 'a', names the image 'a' without suffix, and .*a.jpg and .*a.png both have that",
    ),
    "no image for a frame": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"frame_000000"')),
        "image 'frame_000000', is not in .*put it there",
    ),
    "absolute path, cvat": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"/etc/passwd"')),
        "annotations.xml, image '/etc/passwd', names",
    ),
    "path upwards, cvat": (
        "cvat",
        edit("cvat", "*.xml", lambda d: d.replace(b'"a.png"', b'"../../../a.png"')),
        "which is not inside",
    ),
    "image twice, cvat": ("cvat", edit("cvat", "*.xml", repeat_cvat_image), "annotated twice"),
    "CVAT mask far away": (
        "cvat",
        cvat('<mask label="car" rle="0,8" left="1e300" top="0" width="4" height="2"/>'),
        "reaches far out of any image",
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
    "boxes of labelImg": ("cvat", files(a_xml=VOC_BOXES), "holds boxes .Pascal VOC.* detector"),
    "empty folder, cvat": ("cvat", files(), "holds no annotations.xml"),
    "zip in a folder": ("cvat", zip_in_folder, "export.zip is a zip file; unpack it"),
    "only boxes, cvat": (
        "cvat",
        lambda s: write_cvat(s, '<box label="car" xtl="1" ytl="1" xbr="4" ybr="4" rotation="0"/>'),
        "source holds only boxes of these classes",
    ),
    "masks of LabelMe 3.0": (
        "cvat",
        files(a_xml=LABELME_3.replace("polygon", "segm")),
        "a.xml is in the format .LabelMe 3.0",
    ),
    "LabelMe 3.0": ("cvat", files(a_xml=LABELME_3), "a.xml is in the format .LabelMe 3.0.*export"),
    "order of NaN": (
        "cvat",
        cvat('<polygon label="car" points="1,2;4,2;4,5" z_order="nan"/>'),
        "\"z_order\" is 'nan'",
    ),
}

# tool, how its source is made, and what is printed; the road is imported all the same
REPAIRED = {
    "outside, cvat": (
        "cvat",
        cvat('<polygon label="car" points="40,2;44,2;44,5"/>'),
        "cover no pix",
    ),
    "no points, cvat": ("cvat", cvat('<polygon label="car" points=""/>'), "cover no pixel"),
    "no label, cvat": ("cvat", cvat('<polygon points="1,2;4,2;4,5"/>'), "(no label) (1)"),
    "grey image": (
        "cvat",
        replace_image("cvat", "a.png", Image.new("L", SIZE[::-1])),
        "images",
    ),
    "palette image": (
        "cvat",
        replace_image("cvat", "a.png", Image.new("P", SIZE[::-1]), transparency=0),
        "images",
    ),
}
