"""Drawings, as SVG that the server writes: they are there without a script, and can be printed."""
