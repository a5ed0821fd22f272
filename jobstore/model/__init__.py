"""The words: values, tables and decisions, without input or output."""
