"""What looks at the method from outside: golden cases, benchmarks, reproductions, stored runs."""
