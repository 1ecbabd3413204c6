"""The float graph, and what is done to it: finding layers, placing quantizers, rewriting nodes, raising the opset."""
