"""``ptq --auto``: few layers fall back to wider weights or to float, until the accuracy is good enough."""
