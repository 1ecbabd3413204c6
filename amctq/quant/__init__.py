"""The mathematics and the file formats of quantization."""
