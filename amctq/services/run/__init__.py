"""The steps that ``ptq`` and ``qat`` share, in the order of a run: inputs, exports, accuracy, checks, publish."""
