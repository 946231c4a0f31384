"""Box and mask AP of a panoptic dataset: COCO's evaluator behind an adapter."""

import json
import os

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from tqdm import tqdm

from efficientps_d2.data.classes import class_table
from efficientps_d2.data.coco_panoptic import read_segment_ids
from efficientps_d2.data.datasets.register import dataset_metadata
from efficientps_d2.evaluation.average_precision import average_precision
from efficientps_d2.evaluation.prints import prints_in_log
from efficientps_d2_runtime.files import replacing_file

_written: dict[str, float] = {}  # by this process: when the ground truth of a JSON was changed


class ThingsCOCOEvaluator(COCOEvaluator):
    """COCO AP of the things; COCOEvaluator itself needs metadata of things only.

    Uses the instance JSON of the dataset (metadata ``json_file``) if it exists, otherwise writes
    one from the panoptic ground truth to ``output_folder``.
    """

    def __init__(self, name: str, output_folder: str, tasks=("bbox", "segm"), **kwargs):
        metadata = dataset_metadata(name)
        json_file = metadata.get("json_file")
        if not (json_file and os.path.isfile(json_file)):
            json_file = os.path.join(output_folder, f"{name}_instances.json")
            if comm.is_main_process():
                os.makedirs(output_folder, exist_ok=True)
                _write_once(name, json_file, os.path.getmtime(metadata.panoptic_json))
            comm.synchronize()
        names, thing_ids = class_table(metadata)
        self.to_things = {id_: i for i, id_ in enumerate(thing_ids)}
        contiguous_to_dataset = {
            v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()
        }
        things_only = f"{name}_things"
        MetadataCatalog.pop(things_only, None)
        MetadataCatalog.get(things_only).set(
            json_file=json_file,
            thing_classes=[names[id_] for id_ in thing_ids],
            thing_dataset_id_to_contiguous_id={
                contiguous_to_dataset[id_]: i for i, id_ in enumerate(thing_ids)
            },
        )
        super().__init__(
            things_only, tasks, output_dir=output_folder, use_fast_impl=False, **kwargs
        )

    def process(self, inputs, outputs):
        """As in :class:`COCOEvaluator`; ``pred_classes`` are contiguous ids of all classes."""
        reindexed = []
        for output in outputs:
            instances = output["instances"]
            classes = instances.pred_classes
            instances = Instances(instances.image_size, **instances.get_fields())
            instances.pred_classes = classes.new_tensor(
                [self.to_things[c] for c in classes.tolist()]
            )
            reindexed.append({"instances": instances})
        super().process(inputs, reindexed)

    def evaluate(self, img_ids=None):
        """As in :class:`COCOEvaluator`."""
        with prints_in_log():
            return super().evaluate(img_ids)

    def _eval_predictions(self, predictions, img_ids=None):
        """As in :class:`COCOEvaluator`, with a faster AP."""
        to_dataset = {v: k for k, v in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        results = [
            {**result, "category_id": to_dataset[result["category_id"]]}
            for prediction in predictions
            for result in prediction["instances"]
        ]
        with open(os.path.join(self._output_dir, "coco_instances_results.json"), "w") as file:
            json.dump(results, file)
        if not self._do_evaluation:  # images for a server of a benchmark
            return
        dataset, limits = self._coco_api.dataset, self._max_dets_per_image
        for task in self._tasks:
            found = None
            if results:
                found = average_precision(dataset, results, task, limits, img_ids)
            names = self._metadata.thing_classes
            self._results[task] = self._derive_coco_results(found, task, class_names=names)

    def _derive_coco_results(self, coco_eval, iou_type, class_names=None):
        """As in :class:`COCOEvaluator`, but without predictions the AP of things is 0."""
        if coco_eval is None and not all(a["iscrowd"] for a in self._coco_api.anns.values()):
            nothing = dict.fromkeys(("APs", "APm", "APl"), float("nan"))
            return {**dict.fromkeys(("AP", "AP50", "AP75"), 0.0), **nothing}
        return super()._derive_coco_results(coco_eval, iou_type, class_names)


def _write_once(name: str, json_file: str, modified: float) -> None:
    """Not before each validation of a training: reading all ground truth can take minutes."""
    if _written.get(json_file) != modified or not os.path.isfile(json_file):
        write_instance_json(name, json_file)
        _written[json_file] = modified


def write_instance_json(name: str, json_file: str) -> None:
    """Write the things of a panoptic dataset as COCO instances with run-length masks."""
    metadata = dataset_metadata(name)
    names, thing_ids = class_table(metadata)
    to_dataset = {v: k for k, v in metadata.thing_dataset_id_to_contiguous_id.items()}
    images, annotations = [], []
    for record in tqdm(DatasetCatalog.get(name), desc="reading things", unit="image"):
        pan_seg = read_segment_ids(record["pan_seg_file_name"])
        height, width = pan_seg.shape
        images.append({"id": record["image_id"], "height": height, "width": width})
        for segment in record["segments_info"]:
            if segment["category_id"] not in to_dataset:
                continue
            mask = np.asfortranarray(pan_seg == segment["id"], dtype=np.uint8)
            rle = mask_util.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record["image_id"],
                    "category_id": to_dataset[segment["category_id"]],
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "area": float(mask_util.area(rle)),
                    "bbox": mask_util.toBbox(rle).tolist(),
                    "iscrowd": int(segment.get("iscrowd", 0)),
                }
            )
    categories = [{"id": to_dataset[id_], "name": names[id_]} for id_ in thing_ids]
    content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    with replacing_file(json_file) as partial:
        partial.write_text(json.dumps(content))
