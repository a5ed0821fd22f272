"""Nodes on one database under faults, and the same ledger and rules as for a single server."""
