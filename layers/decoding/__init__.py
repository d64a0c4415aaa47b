"""Decoders: the network that writes a sequence, and the search for the best one."""
