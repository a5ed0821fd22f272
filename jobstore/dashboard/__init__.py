"""Pages for people: what happened to jobs, and what can be done about it, in a browser."""
