"""Pictures of the dashboard, taken of a store that has something to show."""
