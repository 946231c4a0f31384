"""Panoptic metrics in one pass over the predictions, without files and in constant memory."""

import json
import logging
import os
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from tabulate import tabulate

from efficientps_d2.data.classes import class_table
from efficientps_d2.data.coco_panoptic import categories_of, true_segment_ids
from efficientps_d2.evaluation.overlaps import MismatchError
from efficientps_d2.evaluation.panoptic_metrics import PanopticSums, class_metrics, named_metrics
from efficientps_d2.evaluation.results import IMAGES, PREDICTIONS
from efficientps_d2_runtime.coco import save_panoptic
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

logger = logging.getLogger(__name__)


class PanopticEvaluator(DatasetEvaluator):
    """PQ, SQ, RQ, PQ-dagger and PC: of all classes, of things, of stuff and of each class.

    The numbers of :class:`COCOPanopticEvaluator`, and more. Writes ``NAME_images.jsonl``: for each
    image a line that says how each segment was matched (read by report/run.py).
    """

    def __init__(self, name: str, output_folder: str, save_predictions: bool = False):
        """
        Args:
            name: of the dataset.
            output_folder: made if needed.
            save_predictions: also write ``NAME_panoptic/*.png`` and ``NAME_panoptic.json`` in
                COCO's panoptic format.
        """
        self.metadata = MetadataCatalog.get(name)
        self.names, self.thing_ids = class_table(self.metadata)
        self.categories = categories_of(self.metadata) if save_predictions else []
        self.name, self.folder = name, Path(output_folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.save_predictions = save_predictions
        # Those of an earlier evaluation stay until all are there.
        self.new_pngs = self.folder / f"{name}_panoptic.partial"

    def reset(self):
        """Forget all images."""
        self.sums = PanopticSums(len(self.names))
        if comm.is_main_process():  # what an evaluation that was killed has left
            shutil.rmtree(self.new_pngs, ignore_errors=True)
        comm.synchronize()
        self._part(comm.get_rank()).write_text("")
        if self.save_predictions:
            self.new_pngs.mkdir(exist_ok=True)

    def process(self, inputs, outputs):
        """Score images.

        Args:
            inputs: records with ``pan_seg_file_name`` and ``segments_info`` (contiguous ids), and
                with ``pan_seg`` if the mapper has read the ground truth.
            outputs: ``panoptic_seg`` of each: (H, W) ids and ``segments_info``.

        Raises:
            InputError: if the ground truth or the prediction of an image contradicts itself.
        """
        for record, output in zip(inputs, outputs, strict=True):
            pan_seg, segments = output["panoptic_seg"]
            pan_seg = pan_seg.cpu().numpy()
            gt = true_segment_ids(record)
            try:
                matches = self.sums.add_image(gt, record["segments_info"], pan_seg, segments)
            except MismatchError as error:
                raise InputError(
                    f"{record['pan_seg_file_name']} cannot be scored: {error}; look at it with "
                    "efficientps-d2 check."
                ) from error
            line = {
                "image_id": record["image_id"],
                "file_name": os.path.abspath(record["file_name"]),
                "pan_seg_file_name": os.path.abspath(record["pan_seg_file_name"]),
                "size": gt.shape,
                "segments_info": [
                    {key: s[key] for key in ("id", "category_id", "iscrowd") if key in s}
                    for s in record["segments_info"]
                ],
                "matches": [match._asdict() for match in matches],
            }
            if self.save_predictions:
                file = self.new_pngs / f"{Path(record['file_name']).stem}.png"
                line["prediction"] = save_panoptic(
                    file, record["image_id"], pan_seg, segments, self.categories
                )
            with open(self._part(comm.get_rank()), "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def evaluate(self):
        """
        Returns:
            ``{"panoptic_seg": {...}}`` in the main process, None in the others.
        """
        own = self._part(comm.get_rank())
        # Another machine may have no disk in common with this one.
        lines = "" if comm.is_main_process() else own.read_text(encoding="utf-8")
        parts = comm.gather((self.sums, lines))
        if not comm.is_main_process():
            own.unlink()
            return None
        sums = PanopticSums(len(self.names))
        for part, _ in parts:
            sums += part
        self._join_lines(own, [lines for _, lines in parts])
        return OrderedDict(panoptic_seg=self._results(sums))

    def _results(self, sums: PanopticSums) -> dict[str, float]:
        results = named_metrics(sums, self.names, self.thing_ids)
        for kind, suffix in (("thing", "_th"), ("stuff", "_st")):
            if np.isnan(results[f"PQ{suffix}"]):
                logger.warning(
                    "%s has no segment of any %s class: there is no mean over them.",
                    self.name,
                    kind,
                )
        of_class = class_metrics(sums, self.thing_ids)
        rows = list(zip(self.names, *of_class.values(), strict=True))
        rows = [row for row in rows if not np.isnan(row[1])]  # without classes that never occur
        table = tabulate(rows, ["class", *of_class], tablefmt="github", floatfmt=".1f")
        logger.info("Panoptic metrics of each class (PQ_dagger of things is PQ):\n%s", table)
        return results

    def _part(self, rank: int) -> Path:
        return self.folder / f"{self.name}_images.{rank}.jsonl"

    def _join_lines(self, own: Path, lines_of_others: list[str]) -> None:
        """One file of the lines of all processes, and COCO's JSON if asked for."""
        joined = own.rename(self.folder / f"{self.name}{IMAGES}")
        with open(joined, "a", encoding="utf-8") as file:
            file.writelines(lines_of_others)
        if self.save_predictions:
            pngs = self.folder / f"{self.name}_panoptic"
            shutil.rmtree(pngs, ignore_errors=True)
            self.new_pngs.rename(pngs)
            with open(joined, encoding="utf-8") as lines:
                annotations = [json.loads(line)["prediction"] for line in lines]
            content = {"annotations": annotations, "categories": self.categories}
            file = self.folder / f"{self.name}{PREDICTIONS}"
            with replacing_file(file) as partial:
                partial.write_text(json.dumps(content), encoding="utf-8")
