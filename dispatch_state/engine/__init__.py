"""Units of work: moving rows and recording each move in one transaction."""
