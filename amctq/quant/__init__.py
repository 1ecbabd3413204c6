"""The mathematics of quantization. NumPy only."""
