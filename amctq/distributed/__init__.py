"""Rank tables, and what a distributed run needs to know of servers and their NPUs."""
