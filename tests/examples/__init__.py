"""The programs under examples/, run as a user runs them."""
