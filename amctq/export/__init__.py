"""Writing quantized networks: one module for each file format, and the choice of the target CPU."""
