"""A store in an SQLite file: the file, its one writer, its lock, its log, and copies of it."""
