"""A shape as tables of curves and surfaces, evaluated in numpy."""
