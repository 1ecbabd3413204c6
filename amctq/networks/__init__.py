"""Where a float network comes from: registry, a file of the user's own, checkpoint; and its graph, verified."""
