"""Quantization-aware training on several devices: request, plan, run, result."""
