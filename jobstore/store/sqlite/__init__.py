"""SQLite's own words: one file, its one writer, its lock, its log, and copies of it."""
