"""The models, with one module for each table or a few of them, and their guards and queries."""
