"""Annotations of other tools, one module each."""

from efficientps_d2.data.importers.cityscapes import read_cityscapes
from efficientps_d2.data.importers.cvat import read_cvat
from efficientps_d2.data.importers.datumaro import read_datumaro
from efficientps_d2.data.importers.labelme import read_labelme
from efficientps_d2.data.importers.voc import read_voc

# A new tool is a module with such a function, and a line here.
READERS = {
    "labelme": read_labelme,
    "cvat": read_cvat,
    "datumaro": read_datumaro,
    "voc-mask": read_voc,
    "cityscapes": read_cityscapes,
}
