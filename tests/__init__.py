"""Ottla's tests. A package, so that the folder `kafka` in it never shadows the client library of that name."""
