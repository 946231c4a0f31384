"""COCO's average precision, by faster-coco-eval: the digits of pycocotools in less time."""

from collections.abc import Sequence

from faster_coco_eval import COCO, COCOeval_faster


def average_precision(
    gt: dict,
    results: list[dict],
    task: str,
    max_dets: Sequence[int],
    image_ids: Sequence | None = None,
) -> COCOeval_faster:
    """Compare detections with the ground truth of a dataset.

    Args:
        gt: the content of a JSON of COCO instances; ids of images may be text.
        results: detections, at least one, as COCO's results have them.
        task: "bbox" or "segm"; the size of a mask is its number of pixels, not that of its box.
        max_dets: of an image, in increasing order: the last for AP.
        image_ids: of the images that count, by default all.

    Returns:
        With ``stats`` and ``eval`` as those of pycocotools' ``COCOeval``. It prints a summary.
    """
    # In the order of pycocotools, by which detections of the same score are ranked.
    ids = [image["id"] for image in gt["images"]]
    ids.sort(key=None if all(isinstance(id_, int) for id_ in ids) else str)
    numbers = {id_: i for i, id_ in enumerate(ids, 1)}
    numbered = {
        **gt,
        "images": [{**image, "id": numbers[image["id"]]} for image in gt["images"]],
        "annotations": _numbered(gt["annotations"], numbers),
    }
    unused = "bbox" if task == "segm" else "segmentation"
    found = [
        {key: value for key, value in result.items() if key != unused}
        for result in _numbered(results, numbers)
    ]
    coco = COCO(numbered)
    evaluation = COCOeval_faster(coco, coco.loadRes(found), task, print_function=print)
    evaluation.params.maxDets = list(max_dets)
    if image_ids is not None:
        evaluation.params.imgIds = [numbers[id_] for id_ in image_ids]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _numbered(annotations: list[dict], numbers: dict) -> list[dict]:
    return [{**a, "image_id": numbers[a["image_id"]]} for a in annotations]
