"""Access to the machine: files, locks, imports, devices, threads, versions."""
