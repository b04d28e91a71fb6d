"""Where rows are kept, and all that differs between SQLite and PostgreSQL."""
