"""Configuration, plan, Beam job, tracking and the command line."""
