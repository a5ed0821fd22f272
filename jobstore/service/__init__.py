"""What an operator and a service manager need of the process: sockets, TLS, signals, systemd."""
