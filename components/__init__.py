"""The five stages, and what each needs."""
