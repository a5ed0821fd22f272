"""The APIs that clients already know: each one translates, and none imports another."""
