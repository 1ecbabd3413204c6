"""Datasets and how their images are prepared."""
