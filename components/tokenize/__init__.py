"""Learns vocabularies and turns examples into token ids."""
