"""What jobstore is put through: the benchmark, the chaos and the soak."""
