"""An hour of everything at once against one server, and what becomes of it meanwhile."""
