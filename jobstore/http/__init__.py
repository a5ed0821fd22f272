"""HTTP as aiohttp speaks it, for both of its ends: what comes in here, and what goes out."""
