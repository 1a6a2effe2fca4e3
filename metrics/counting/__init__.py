"""Counting of requests: in each worker's memory, from there through a shared store into the database."""
