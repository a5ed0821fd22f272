"""Services as other people write them: each answers the same calls, in its own framework."""
