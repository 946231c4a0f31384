"""The page of web.py: what it shows of an image, and its Gradio components."""

import base64
import os
import re
import zlib
from dataclasses import asdict
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr
import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from efficientps_d2.data.coco_panoptic import categories_of
from efficientps_d2.prediction.layers import Layer, prediction_layers
from efficientps_d2.prediction.predictor import Prediction, Predictor
from efficientps_d2.web.style import STYLE
from efficientps_d2_runtime.coco import PanopticWriter
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.images import JPEG_LIMIT, read_rgb, size_of

INTRODUCTION = """# Panoptic segmentation
Drop an image of up to {megabytes} MB and {megapixels:g} megapixels, then point at the result to
see the class, score and area of each segment. Images stay on the computer that runs this page.

The model: {model}."""
UPLOAD_LIMIT = 50 * 2**20  # bytes of an image
KEEP_UPLOADS = 600  # seconds
QUEUE = 20  # images that wait; Gradio shows each visitor its place


def make_page(predictor: Predictor, pixel_limit: int) -> gr.Blocks:
    """A page that predicts the images dropped on it, and itself asks no other host."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    uploads = Path(get_upload_folder()).resolve()

    def predict(file: str | None) -> tuple[None, dict]:
        # The request names the file, and could name any. Gradio has looked at it before; this is
        # for a Gradio that does not.
        if not file or not Path(file).resolve().is_relative_to(uploads):
            raise gr.Error("This file was not dropped on the page.", print_exception=False)
        # None empties the place to drop images, so that it takes the next one.
        return None, describe(Path(file), predictor, pixel_limit)

    cache = (KEEP_UPLOADS, KEEP_UPLOADS)
    with gr.Blocks(title="efficientps_d2", delete_cache=cache) as page:
        limits = {"megabytes": UPLOAD_LIMIT // 2**20, "megapixels": pixel_limit / 1e6}
        model = re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", str(predictor))
        gr.Markdown(INTRODUCTION.format(**limits, model=model))
        # Of any type, because what cannot be read is named by a sentence of ours.
        file = gr.File(label="Image", height=130, elem_id="image")
        file.async_move_resource_to_block_cache = _leave
        viewer = gr.HTML(
            html_template=_asset("page.html"),
            css_template=_asset("page.css"),
            js_on_load=_asset("page.js"),
            apply_default_css=False,
            elem_id="viewer",
        )
        file.upload(
            predict,
            file,
            [file, viewer],
            api_visibility="private",
            show_progress_on=viewer,
            trigger_mode="multiple",  # otherwise an image dropped during a prediction is ignored
        )
    # Gradio takes files that were not uploaded until a page is launched, which mounting is not.
    page.has_launched = True
    page.queue(max_size=QUEUE)
    return page


async def _leave(path: str) -> str:
    """In place of Gradio's method, which copies any file, also of another host, to the uploads."""
    return path


def describe(file: Path, predictor: Predictor, pixel_limit: int) -> dict:
    """What page.js draws of an image.

    Returns:
        ``problem``, a sentence, if the image cannot be read; otherwise ``name``, ``image`` (a
        data URI), ``style``, ``layers`` by their name, and the files of COCO's panoptic format,
        ``png`` (base64) and ``json``.
    """
    try:
        check_size(file, pixel_limit)
        image = read_rgb(file, file.name)
    except InputError as error:
        return {"problem": str(error)}
    prediction = predictor(image, image_format="RGB", logits=True)
    min_score = predictor.cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
    layers = prediction_layers(prediction, predictor.metadata, min_score)
    return {
        "name": file.name,
        "stem": file.stem,
        "image": _data_uri(image),
        "style": STYLE,
        "layers": {name: _encode(layer) for name, layer in layers.items()},
        **coco_files(file, prediction, predictor),
    }


def check_size(file: Path, pixel_limit: int) -> None:
    """Refuse an image that would hold the queue, or the memory, before it is decoded."""
    height, width = size_of(file) or (0, 0)
    if max(width, height) > JPEG_LIMIT:
        raise InputError(f"{file.name} has a side of more than {JPEG_LIMIT} pixels; cut it.")
    if width * height > pixel_limit:
        raise InputError(
            f"{file.name} has {width} x {height} pixels; this page takes up to "
            f"{pixel_limit / 1e6:g} megapixels: make it smaller, or use efficientps-d2 predict."
        )


def coco_files(file: Path, prediction: Prediction, predictor: Predictor) -> dict[str, str]:
    """What :class:`PanopticWriter` writes: ``png`` in base64, and ``json``."""
    with TemporaryDirectory() as folder:
        with PanopticWriter(Path(folder), categories_of(predictor.metadata)) as writer:
            writer.add(file, prediction)
        png = Path(folder, "panoptic", f"{file.stem}.png").read_bytes()
        text = Path(folder, "panoptic.json").read_text(encoding="utf-8")
    return {"png": base64.b64encode(png).decode(), "json": text}


def _encode(layer: Layer) -> dict:
    numbers = zlib.compress(layer.numbers.astype("<u2").tobytes())
    segments = [asdict(segment) for segment in layer.segments]
    return {"numbers": base64.b64encode(numbers).decode(), "segments": segments}


def _data_uri(image: np.ndarray) -> str:
    content = BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=92)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
