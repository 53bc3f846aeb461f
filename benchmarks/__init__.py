"""Speed against the libraries that a user could pick instead."""
