"""Reading MindIR, MindSpore's own format, as ONNX: one small function for each primitive."""
