"""Prediction of images with a saved model."""
