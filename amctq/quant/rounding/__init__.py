"""Choosing the integers of a weight by what they do to the layer's output."""
