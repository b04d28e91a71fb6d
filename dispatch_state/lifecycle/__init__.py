"""How lifecycles are declared, and how a machine decides whether a move is legal."""
