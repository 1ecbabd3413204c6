"""Post-training quantization: request, plan, run, result, report."""
