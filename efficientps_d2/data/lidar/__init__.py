"""Scans of a rotating laser scanner: their files, their range images and back."""
