"""A run: the Beam job, what is observed of it, and what people see."""
