"""Files of weights, checkpoints and saved models."""
