"""The plan of a run: its nodes, what every one is made from, and what is reused."""
