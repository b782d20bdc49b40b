"""Load: benchmarks of every hot path, and (with Locust) suites against running nodes."""
