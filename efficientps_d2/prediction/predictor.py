"""Predict images with a trained model, without the data it was trained on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from tqdm import tqdm

from efficientps_d2.checkpoint.checkpointer import load_trained_model
from efficientps_d2.checkpoint.saved_model import read_saved_model
from efficientps_d2.data import bands
from efficientps_d2.data.images import resize_image
from efficientps_d2.deploy.optimize import optimize_for_inference
from efficientps_d2.modeling.test_time_augmentation import PanopticTTA
from efficientps_d2.prediction.mosaic import Mosaic, tiles
from efficientps_d2.prediction.result import Prediction
from efficientps_d2_runtime.errors import InputError, one_line
from efficientps_d2_runtime.images import read_rgb, require_format, rgb_of_array
from efficientps_d2_runtime.result import Segment, listed

ImageInput = np.ndarray | str | Path
SMALLEST_TILE = 64
PRECISIONS = ("float32", "float16", "bfloat16")
OF_DEMO = "That of make demo: it knows painted streets only."


def load_predictor(
    folder: str | Path | None = None,
    device: str = "",
    optimize: bool = True,
    tile: int = 0,
    precision: str = "float32",
    augment: bool = False,
) -> "Predictor":
    """A predictor of a saved model.

    Args:
        folder: with model.safetensors, config.yaml and metadata.json; a training leaves one in
            ``OUTPUT_DIR/model``; by default that of ``make demo``.
        device: "cuda", "cpu" or such; CUDA if there is one by default.
        optimize, tile, precision, augment: see :class:`Predictor`.

    Raises:
        InputError: if a file is missing or damaged, or see :class:`Predictor`.
    """
    return Predictor(*read_saved_model(folder), device, optimize, tile, precision, augment)


class Predictor:
    """A model with its weights, and the names and colours of its classes."""

    def __init__(
        self,
        cfg: CfgNode,
        metadata: Metadata,
        device: str = "",
        optimize: bool = True,
        tile: int = 0,
        precision: str = "float32",
        augment: bool = False,
    ):
        """
        Args:
            cfg: with ``MODEL.WEIGHTS`` and the class table, as a training leaves it.
            metadata: names and colours of the classes.
            device: CUDA if there is one by default.
            optimize: take the form of :func:`optimize_for_inference`, which is faster; its weights
                have other names.
            tile: side of the square tiles, in pixels, that larger images are predicted in. Only the
                image and its maps then grow with the image, by 8 bytes a pixel. Instances are
                those of the panoptic map, and there are no logits. 0 for images as wholes.
            precision: of the network on CUDA, by autocast: also "float16" or "bfloat16".
            augment: see every image in the sizes of ``TEST.AUG.SCALES``, and mirrored, as
                :class:`PanopticTTA` does, whatever ``TEST.AUG.ENABLED`` says.

        Raises:
            InputError: if the weights, the device or the precision on it cannot be used, or the
                network cannot be augmented.
        """
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.DEVICE = _usable_device(device, precision)
        self.dtype = getattr(torch, precision)
        cfg.MODEL.EFFICIENTNET.WEIGHTS = ""
        self.cfg, self.metadata, self.tile = cfg, metadata, tile
        if tile:
            if tile < SMALLEST_TILE:
                raise InputError(
                    f"The size of tiles (--tile) is {tile}; give {SMALLEST_TILE} pixels or more."
                )
            cfg = cfg.clone()
            cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 0  # a tile sees only a part
        self.model = load_trained_model(cfg)
        if optimize:
            self.model = optimize_for_inference(self.model)
        self._network = PanopticTTA.of_config(cfg, self.model) if augment else self.model
        size = cfg.INPUT.MIN_SIZE_TEST
        self.resize = T.ResizeShortestEdge([size, size], cfg.INPUT.MAX_SIZE_TEST)

    def __str__(self) -> str:
        """The network and its classes."""
        names = self.metadata.stuff_classes
        return f"{self.cfg.MODEL.META_ARCHITECTURE} for {len(names)} classes ({listed(names)})"

    def __call__(
        self,
        images: ImageInput | Sequence[ImageInput],
        image_format: str = "BGR",
        logits: bool = False,
    ) -> Prediction | list[Prediction]:
        """Predict an image, or several of any sizes at once.

        Args:
            images: an array (H, W, 3) uint8 in ``image_format``, the path of a file, or a
                sequence of these. A model with ``INPUT.FORMAT`` BANDS takes arrays (H, W, C) of
                numbers as its files hold them, with NaN where there are no data.
            image_format: "BGR", as OpenCV reads and Detectron2's predictor takes, or "RGB". Files
                do not depend on it.
            logits: also keep semantic logits and mask logits.

        Returns:
            A :class:`Prediction`, or a list of them for a sequence.

        Raises:
            InputError: if a file cannot be read, an array has another shape or type, or there are
                no logits because of tiles.
        """
        require_format(image_format)
        several = isinstance(images, list | tuple) or np.ndim(images) == 4
        if not several:
            return self([images], image_format, logits)[0]
        arrays = [self._pixels(image, image_format) for image in images]
        if self.tile and logits:
            raise InputError("A prediction in tiles has no logits; leave tile or logits out.")
        if self.tile:
            return [self._tiled(array) for array in arrays]
        return self._whole(arrays, logits)

    def _whole(self, images: list[np.ndarray], logits: bool = False) -> list[Prediction]:
        """Of images, in one batch."""
        lower = self.dtype != torch.float32
        with torch.no_grad(), torch.autocast("cuda", self.dtype, enabled=lower):
            outputs = self._network([self._input(image) for image in images]) if images else []
        names = self.metadata.stuff_classes
        return [Prediction.of_output(output, names, logits) for output in outputs]

    def _tiled(self, image: np.ndarray) -> Prediction:
        size = image.shape[:2]
        parts, mosaic = list(tiles(size, self.tile)), Mosaic(size)
        sem_seg = None
        for part in tqdm(parts, desc="tiles", unit="tile", leave=False, disable=len(parts) == 1):
            (seen,) = self._whole([image[part.rows, part.columns]])
            mosaic.add(part, seen.panoptic_seg, seen.segments)
            if seen.sem_seg is not None:
                sem_seg = np.zeros(size, dtype=np.uint8) if sem_seg is None else sem_seg
                sem_seg[part.core] = seen.sem_seg[part.inner]
        names, segments = self.metadata.stuff_classes, []
        limit = self.cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT
        for class_id, isthing, score, area in mosaic.finish(limit):
            name, number = names[class_id], len(segments) + 1
            segments.append(Segment(number, class_id, name, isthing, float(score), area))
        things = [s for s in segments if s.isthing]
        boxes = torch.from_numpy(mosaic.boxes(len(things))).float()
        instances = Instances(size, pred_boxes=Boxes(boxes))
        instances.scores = torch.tensor([s.score for s in things])
        instances.pred_classes = torch.tensor([s.category_id for s in things], dtype=torch.int64)
        return Prediction(mosaic.pan_seg, segments, sem_seg, instances)

    def read(self, file: str | Path) -> np.ndarray:
        """The image in a file: (H, W, 3) uint8 RGB, or (H, W, C) float32 of bands.

        Raises:
            InputError: if it cannot be read.
        """
        if self.cfg.INPUT.FORMAT != bands.BANDS:
            return read_rgb(file)
        image = bands.load_bands(file, "give another image")
        bands.require_bands(image, len(self.cfg.MODEL.PIXEL_MEAN), str(file))
        return image

    def shown(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of what :meth:`read` gives, for drawings."""
        shown = bands.shown_bands(self.cfg.INPUT)
        return bands.show(image, shown) if shown else image

    def _pixels(self, image: ImageInput, image_format: str) -> np.ndarray:
        is_file = isinstance(image, str | Path)
        if self.cfg.INPUT.FORMAT != bands.BANDS:
            return read_rgb(image) if is_file else rgb_of_array(image, image_format)
        if is_file:
            return self.read(image)
        name, count = "An image", len(self.cfg.MODEL.PIXEL_MEAN)
        pixels = bands.bands_of_array(np.asarray(image), name, count=count)
        bands.require_bands(pixels, count, name)
        return pixels

    def _input(self, image: np.ndarray) -> dict:
        """What the model takes, of an RGB image or of bands."""
        height, width = image.shape[:2]
        if self.cfg.INPUT.FORMAT == "BGR":
            image = image[:, :, ::-1]
        image = resize_image(np.ascontiguousarray(image), self.resize)
        tensor = bands.image_tensor(image, self.cfg.MODEL.PIXEL_MEAN)
        return {"image": tensor, "height": height, "width": width}


def _usable_device(device: str, precision: str) -> str:
    """The device, or CUDA if there is one by default; InputError if they cannot be used."""
    device = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter without CUDA
        reason = one_line(error).rstrip(".")
        raise InputError(f'The device "{device}" cannot be used ({reason}).') from error
    if precision != "float32" and not (precision in PRECISIONS and device.startswith("cuda")):
        raise InputError(
            f"The precision {precision} cannot be used on {device}; give float32, or on CUDA "
            f"one of {', '.join(PRECISIONS[1:])}."
        )
    return device
