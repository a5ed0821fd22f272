"""From bytes on a connection to a call of one of our functions, and back."""
