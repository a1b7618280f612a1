"""Measurements of a shape: trimming, sample points, areas, volumes, lengths and bounding boxes."""
