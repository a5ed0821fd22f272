"""HTTP as aiohttp implements it, for both ends: incoming and outgoing."""
