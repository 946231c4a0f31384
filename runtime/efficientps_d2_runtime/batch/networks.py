"""Networks in ONNX files as models of workers."""

from pathlib import Path

import numpy as np

from efficientps_d2_runtime.network import Network
from efficientps_d2_runtime.prediction import Prediction


class OnnxModel:
    """The network in a folder with one file."""

    def __init__(self, file: Path, threads: int = 0, threshold: float | None = None):
        """
        Args:
            file: of ``efficientps-d2 export --format onnx``.
            threads: of ONNX Runtime; 0 for one of each core.
            threshold: of the scores of instances; by default that of the file.
        """
        self.network, self.threshold = Network(file, threads), threshold
        self.categories = self.network.categories

    def read(self, file: Path) -> np.ndarray:
        """(H, W, 3) uint8 RGB of an image."""
        return self.network.read(file)

    def predict(self, images: list[np.ndarray]) -> list[Prediction]:
        """One after the other."""
        return self.network(images, "RGB", score_threshold=self.threshold)


MODEL = "model.onnx"


def load_onnx(threshold: float | None, threads: int, has_gpu: bool, folder: Path) -> OnnxModel:
    """The model of a worker; it computes on the CPU, whatever there is."""
    return OnnxModel(folder / MODEL, threads, threshold)
