"""One file for each API that Python serves: `handle`, and `refuse` where a failed request has an answer of its own
shape.

`registry` lists them with their keys and versions.
"""
