"""The one table of class ids.

There are three spaces of class ids. *Dataset ids* stand in the annotation files. *Contiguous ids*
0..K-1 cover all classes: Detectron2's loaders put them into ``segments_info``, the semantic head
predicts them, and every output uses them. The *detector's classes* 0..things-1 number the thing
classes in ascending contiguous id: detector class ``i`` is ``ClassTable.thing_ids[i]``. The mapper
goes from contiguous ids to detector classes, the meta-architecture goes back.
"""

from typing import NamedTuple

from detectron2.config import CfgNode
from detectron2.data.catalog import Metadata

from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2_runtime.errors import InputError


class ClassTable(NamedTuple):
    """Names of all classes by contiguous id, and the contiguous id of each detector class."""

    names: list[str]
    thing_ids: list[int]


def class_table(metadata: Metadata) -> ClassTable:
    """The class table of a registered panoptic dataset."""
    thing_ids = sorted(metadata.thing_dataset_id_to_contiguous_id.values())
    return ClassTable(list(metadata.stuff_classes), thing_ids)


def dataset_classes(cfg: CfgNode) -> ClassTable:
    """The class table that all datasets of a config share.

    Raises:
        InputError: if no dataset is configured or two of them differ in their classes.
    """
    names = list(dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]))
    if not names:
        raise InputError("DATASETS.TRAIN and DATASETS.TEST are empty; name at least one dataset.")
    tables = {name: class_table(dataset_metadata(name)) for name in names}
    for name in names[1:]:
        if tables[name] != tables[names[0]]:
            raise InputError(
                f'Datasets "{names[0]}" and "{name}" have different classes; a model can only be '
                "trained and tested on the same list of things and stuff."
            )
    return tables[names[0]]


def with_class_counts(cfg: CfgNode) -> CfgNode:
    """A copy of ``cfg`` with the class counts and thing ids of its datasets.

    Raises:
        InputError: if a count that is not -1 or the names of the classes contradict the datasets,
            or if these lack things or stuff.
    """
    table = dataset_classes(cfg)
    names = list(cfg.MODEL.EFFICIENTPS.CLASS_NAMES)
    if names not in ([], table.names):
        raise InputError(
            f"The config is for the classes {', '.join(names)}, but the datasets have "
            f"{', '.join(table.names)}; give datasets with the same classes in the same order, or "
            'MODEL.EFFICIENTPS.CLASS_NAMES "[]" to learn these.'
        )
    if not 0 < len(table.thing_ids) < len(table.names):
        raise InputError(
            f"The datasets have {len(table.thing_ids)} thing classes among {len(table.names)}; "
            'panoptic segmentation needs at least one of each; add for instance "background" as '
            "stuff to their categories."
        )
    cfg = cfg.clone()
    frozen = cfg.is_frozen()
    cfg.defrost()
    for node, key, count in (
        (cfg.MODEL.SEM_SEG_HEAD, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", len(table.names)),
        (cfg.MODEL.ROI_HEADS, "MODEL.ROI_HEADS.NUM_CLASSES", len(table.thing_ids)),
    ):
        if node.NUM_CLASSES not in (-1, count):
            raise InputError(
                f"{key} is {node.NUM_CLASSES}, but the datasets have {count} such classes; set it "
                "to -1 to follow the data."
            )
        node.NUM_CLASSES = count
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = table.thing_ids
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = table.names
    if frozen:
        cfg.freeze()
    return cfg
