"""Copies of a store: backups and snapshots."""
