"""The CAD kernel (OpenCASCADE): reading, healing, writing, queries, and its binary form of a shape as tables."""
