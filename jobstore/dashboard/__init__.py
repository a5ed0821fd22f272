"""The dashboard: what happened to jobs, and what can be done about it, in a browser."""
