"""CAD files: their formats, and what a STEP file states about itself."""
