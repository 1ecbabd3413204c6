"""Rank tables, and the launch of distributed runs."""
