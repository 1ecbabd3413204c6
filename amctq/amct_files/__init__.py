"""AMCT's own files, read and written: configurations, calibration record, names of layers."""
