"""What each layer costs when it is quantized: request, run, result."""
