"""From bytes on a connection to a call of ours, and back."""
