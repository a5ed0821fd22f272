"""A real server and real clients under faults, and a ledger of what the clients were told."""
