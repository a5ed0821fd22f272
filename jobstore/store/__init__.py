"""What is durable: the only SQL."""
