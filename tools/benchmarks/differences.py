"""Images on which networks differ, drawn side by side."""

from pathlib import Path

import numpy as np
from PIL import Image

from efficientps_d2.config.keys import has_semantic_head
from efficientps_d2.report.error_analysis import image_pq
from efficientps_d2.report.gallery import paint_segments, read_maps
from efficientps_d2.report.run import matches_of, read_run
from efficientps_d2.utils.visualizer import side_by_side
from efficientps_d2_runtime.images import read_rgb


def draw_differences(folders: dict[str, Path], count: int, output: Path) -> list[Path]:
    """Write the images whose PQ differs most between panoptic networks, as JPEG files.

    Args:
        folders: of a run with ``TEST.SAVE_PANOPTIC``, by row; all on the same dataset.
        count: of images.
        output: folder of the files.
    """
    runs = {row: read_run(folder) for row, folder in folders.items()}
    samples = {
        row: {sample["file_name"]: sample for sample in run.images} for row, run in runs.items()
    }
    names = set.intersection(*(set(of_row) for of_row in samples.values()))
    values = {
        name: [image_pq(matches_of(of_row[name])) for of_row in samples.values()] for name in names
    }
    panoptic = [has_semantic_head(run.cfg) for run in runs.values()]
    comparable = panoptic if sum(panoptic) > 1 else [True] * len(runs)
    spread = {
        name: np.ptp(np.compress(comparable, pq))
        for name, pq in values.items()
        if np.isfinite(pq).all()
    }
    output.mkdir(parents=True, exist_ok=True)
    written = []
    chosen = sorted(spread, key=lambda name: (-spread[name], name))[:count]
    for rank, name in enumerate(chosen, start=1):
        panels = _panels(runs, {row: of_row[name] for row, of_row in samples.items()})
        captions = [
            *("image", "ground truth"),
            *(
                f"{row}: PQ {pq:.0f}" if has_stuff else f"{row}: things only"
                for row, pq, has_stuff in zip(runs, values[name], panoptic, strict=True)
            ),
        ]
        written.append(output / f"{rank}_{Path(name).stem}.jpg")
        framed = [
            side_by_side([panel], (caption,))
            for panel, caption in zip(panels, captions, strict=True)
        ]
        Image.fromarray(_two_in_a_row(framed)).save(written[-1], quality=90)
    return written


def _panels(runs: dict, samples: dict[str, dict]) -> list[np.ndarray]:
    image, panels = None, []
    for row, run in runs.items():
        gt, prediction, segments = read_maps(samples[row], run.saved)
        colors = [category["color"] for category in run.saved.categories]
        if image is None:
            image = read_rgb(samples[row]["file_name"])
            panels = [image, paint_segments(image, gt, samples[row]["segments_info"], colors)]
        panels.append(paint_segments(image, prediction, segments, colors))
    return panels


def _two_in_a_row(panels: list[np.ndarray]) -> np.ndarray:
    if len(panels) % 2:
        panels = [*panels, np.full_like(panels[0], 255)]
    return np.vstack([np.hstack(panels[i : i + 2]) for i in range(0, len(panels), 2)])
