"""What an operator and their system ask of a server's process: sockets, TLS, signals, systemd."""
