"""One HTML page from a report.json: no file beside it, no request, no library. Plots are SVG, made here."""
