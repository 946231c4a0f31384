"""Backbones, and the 2-way FPN on them."""
