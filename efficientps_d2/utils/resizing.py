"""Resizing of images of any number of bands."""

import numpy as np
from detectron2.data import transforms as T
from PIL import Image


def resize_bands(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, C) float32 in another height and width, bilinear, as Pillow does with photographs.

    Pixels without data, which are NaN, have no part in the result; it is NaN where most of what
    it would be made of is.
    """
    missing = np.isnan(image)
    if not missing.any():
        return _resized(image, size)
    weights = _resized((~missing).astype(np.float32), size)
    values = _resized(np.where(missing, np.float32(0), image), size)
    mostly = weights >= 0.5
    return np.divide(values, weights, out=np.full_like(values, np.nan), where=mostly)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    bands = np.ascontiguousarray(image.transpose(2, 0, 1))
    resized = (Image.fromarray(b).resize(size[::-1], Image.Resampling.BILINEAR) for b in bands)
    return np.stack([np.asarray(band) for band in resized], axis=2)


class ResizeTransform(T.ResizeTransform):
    """Detectron2's, which has no low-pass filter for float32."""

    def apply_image(self, img, interp=None):
        """As in the base class; float32 by :func:`resize_bands`, without ``interp``."""
        if img.dtype == np.float32 and img.ndim == 3 and interp is None:
            return resize_bands(img, (self.new_h, self.new_w))
        return super().apply_image(img, interp)
