"""The plan of a run: its nodes, what each is made from, and what is reused."""
