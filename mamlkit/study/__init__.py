"""Studies of the method: golden cases, benchmarks, reproductions and stored runs."""
