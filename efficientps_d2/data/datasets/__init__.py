"""Datasets that can be registered, one module each."""
