"""Shapes to triangles."""
