"""`make bench-crossings`: what it costs to go from Python to Rust and back (pytest-benchmark)."""
