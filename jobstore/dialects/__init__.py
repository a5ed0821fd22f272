"""The APIs that clients know already: each translates, and strangers they are to one another."""
