"""The vocabulary: values, tables and decisions, without input or output."""
