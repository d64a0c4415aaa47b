"""Recurrent layers, and the readout of a reservoir."""
