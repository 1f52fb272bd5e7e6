"""Tests that take a client library run with each of them."""

from tests.clients.conftest import client_name

__all__ = ["client_name"]
