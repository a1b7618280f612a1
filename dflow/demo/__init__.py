"""The demo: generated parts, and the flow over them."""
