"""The schema, step by step; a released file never changes."""
