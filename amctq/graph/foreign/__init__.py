"""Reading float ONNX of any producer as a float graph: what is refused, names, opset, a dynamic batch."""
