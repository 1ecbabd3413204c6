"""Quantization-aware training: request, plan, run, result, report."""
