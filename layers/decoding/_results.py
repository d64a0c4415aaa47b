"""What a beam search returns."""

from __future__ import annotations

import numpy as np
from keras import ops, tree

from layers.decoding._continuations import IMPOSSIBLE, gather
from layers.decoding._hypotheses import Pool, Tensor
from layers.decoding._strategies import Strategy

_CUT, _FINISHED = 1, 2  # Kinds of hypotheses; 0 is none.


def best_of(finished: Pool, cut: Pool, strategy: Strategy) -> dict[str, Tensor]:
    """Returns the `n_best` finished hypotheses and behind them, as far as there is room, those that were cut.

    Args:
        finished: The finished hypotheses of each row.
        cut: As many of those that were cut, best first.
        strategy: Says which rows belong to a source.
    """
    options, size = strategy.options, finished.scores.shape[1]
    n_finished = ops.sum(ops.cast(finished.scores > IMPOSSIBLE, "int32"), axis=1, keepdims=True)
    has_room = ops.arange(size, dtype="int32") < size - n_finished
    cut = cut._replace(scores=ops.where(has_room, cut.scores, IMPOSSIBLE))
    both = tree.map_structure(
        lambda *kinds: strategy.to_sources(ops.concatenate(kinds, axis=1)), finished, cut
    )
    kind_of = np.tile(np.repeat([_FINISHED, _CUT], size), strategy.groups).astype("int32")
    # `top_k` prefers the first of equals: sorted by score, then by kind.
    scores, places = ops.top_k(both.scores, len(kind_of))
    kinds = ops.where(scores > IMPOSSIBLE, ops.take(kind_of, places), 0)
    if strategy.groups > 1:
        kinds, order = ops.top_k(kinds, len(kind_of))
        places = gather(places, order)
        sequences, lengths = gather(both.trace["sequences"], places), gather(both.lengths, places)
        kinds = ops.where(_repeats_another(sequences, lengths), 0, kinds)
    kinds, order = ops.top_k(kinds, options.n_best)
    best = tree.map_structure(lambda values: gather(values, gather(places, order)), both)
    found = kinds > 0
    results = {
        "sequences": ops.where(found[:, :, None], best.trace.pop("sequences"), options.pad_id),
        "scores": ops.where(found, best.scores, IMPOSSIBLE),
        "log_probs": ops.where(found, best.log_probs, IMPOSSIBLE),
        "lengths": ops.where(found, best.lengths, 0),
        "finished": ops.equal(kinds, _FINISHED),
        "found": found,
    }
    for name, values in best.trace.items():
        shape = (*ops.shape(found), *[1] * (len(values.shape) - 2))
        results[name] = ops.where(ops.reshape(found, shape), values, 0.0)
    return results


def _repeats_another(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Returns which hypotheses are the same as one before, of shape `(batch, count)`."""
    same = ops.all(ops.equal(sequences[:, :, None], sequences[:, None]), axis=-1)
    same = ops.logical_and(same, ops.equal(lengths[:, :, None], lengths[:, None]))
    before = ops.convert_to_tensor(np.tri(lengths.shape[1], k=-1, dtype=bool))
    return ops.any(ops.logical_and(same, before), axis=-1)
