"""What jobstore is put through: benchmark, chaos and soak, with clients and servers for all."""
