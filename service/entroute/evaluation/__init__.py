"""Offline: recorded samples, and what strategies make of them."""
