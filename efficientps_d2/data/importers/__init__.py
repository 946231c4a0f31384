"""Annotations of other tools, made into panoptic datasets; one module for each format."""
