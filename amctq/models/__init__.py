"""The networks that amctq knows by name, with the parameter names that make published checkpoints load."""
