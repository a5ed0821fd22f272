"""Others that do the same HTTP work, each with the settings that make a submission durable."""
