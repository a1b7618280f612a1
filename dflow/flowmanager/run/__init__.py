"""One run of a flow: its chains of steps in their order, and what they share."""
