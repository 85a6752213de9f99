"""What touches the machine: files, locks, threads, versions."""
