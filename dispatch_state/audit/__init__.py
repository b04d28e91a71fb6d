"""Checks whether a store is sound."""
