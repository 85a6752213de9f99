"""The mathematics of MAML and MAML++ as functions of explicit tensors, and their configuration."""
