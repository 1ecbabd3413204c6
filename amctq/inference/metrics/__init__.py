"""Metrics: how good a network is, from its outputs and the targets of the samples."""
