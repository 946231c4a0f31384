"""The whole network, from an image to its panoptic map, as one ONNX file."""
