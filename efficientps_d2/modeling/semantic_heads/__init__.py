"""Semantic heads."""
