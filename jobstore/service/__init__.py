"""What operators and service managers need of the process: sockets, TLS, signals, memory."""
