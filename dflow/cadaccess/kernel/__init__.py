"""The CAD kernel (OpenCASCADE): reading, healing, queries, and its binary form of a shape as tables."""
