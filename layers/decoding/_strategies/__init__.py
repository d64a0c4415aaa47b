"""How the hypotheses of a beam search go on: one class for each way, chosen once from the options."""

from layers.decoding._strategies.best import BestStrategy
from layers.decoding._strategies.drawn import DrawnStrategy
from layers.decoding._strategies.grouped import GroupedStrategy
from layers.decoding._strategies.strategy import Strategy
from layers.decoding.search_options import SearchOptions

__all__ = ["Strategy", "strategy_for"]


def strategy_for(options: SearchOptions) -> Strategy:
    """Returns the strategy that the options ask for."""
    if options.sample:
        return DrawnStrategy(options)
    return BestStrategy(options) if options.num_beam_groups == 1 else GroupedStrategy(options)
