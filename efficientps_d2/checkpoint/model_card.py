"""The card of a saved model: what it is, what it was trained on, and how to use it."""

import logging
from pathlib import Path

from detectron2.config import CfgNode

from efficientps_d2_runtime.files import replacing_file
from efficientps_d2_runtime.result import listed

logger = logging.getLogger(__name__)

CARD = "README.md"  # which hubs of models show
LISTED = 40  # classes
TEXT = """---
library_name: efficientps_d2
pipeline_tag: image-segmentation
tags:
- panoptic-segmentation
- detectron2
---

# {network} for {count} classes

{things}

{stuff}

## Use

```bash
efficientps-d2 predict --model FOLDER image.jpg --output predicted/
```

```python
from efficientps_d2 import load_predictor

prediction = load_predictor("FOLDER")("image.jpg")
```

## Training

* Backbone: `{backbone}`
* Training data: {train}
* {iterations} iterations of {batch} images, learning rate {rate:g}, seed {seed}

## Results

{results}
## Licence and limits

{to_fill_in} It knows
images like those of its training only.
"""
TO_FILL_IN = (
    "Fill in the licence of the training data, who may use the model, and what it is not for."
)


def write_card(folder: Path, cfg: CfgNode, results: str) -> None:
    """Write ``README.md`` beside a saved model, unless somebody has filled in the one there.

    Args:
        folder: of :func:`save_model`.
        cfg: of the training.
        results: tables in Markdown, each with a heading; "" if it was not evaluated.
    """
    model, names = cfg.MODEL, list(cfg.MODEL.EFFICIENTPS.CLASS_NAMES)
    things = [names[i] for i in model.EFFICIENTPS.THING_CLASS_IDS]
    stuff = [name for name in names if name not in things]
    text = TEXT.format(
        network=model.META_ARCHITECTURE,
        count=len(names),
        things=f"Things: {_listed(things)}.",
        stuff=f"Stuff: {_listed(stuff)}.",
        backbone=model.EFFICIENTNET.NAME if "efficientnet" in model.BACKBONE.NAME else "ResNet",
        train=_listed(cfg.DATASETS.TRAIN),
        iterations=cfg.SOLVER.MAX_ITER,
        batch=cfg.SOLVER.IMS_PER_BATCH,
        rate=cfg.SOLVER.BASE_LR,
        seed=cfg.SEED if cfg.SEED >= 0 else "not fixed",
        results=results or "Not evaluated.\n",
        to_fill_in=TO_FILL_IN,
    )
    card = folder / CARD
    if card.exists() and TO_FILL_IN not in card.read_text(encoding="utf-8", errors="replace"):
        logger.info("%s was filled in and stays as it is; correct its results.", card)
        return
    with replacing_file(card) as partial:
        partial.write_text(text, encoding="utf-8")


def _listed(names) -> str:
    return listed(names, LISTED) or "none"
