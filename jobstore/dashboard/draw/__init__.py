"""Drawings as SVG, made by the server: they need no script, and can be printed."""
