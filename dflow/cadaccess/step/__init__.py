"""Ordinary STEP files from their text, without the kernel."""
