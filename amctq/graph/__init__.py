"""The float graph and what is done to it: layers found, quantizers placed, nodes rewritten, opset raised."""
