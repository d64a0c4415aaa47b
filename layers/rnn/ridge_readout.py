"""Ridge regression in one pass over data in any number of pieces, by NumPy alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk

from layers._validation import invalid, non_negative_float, non_negative_integer

# Steps in float64 at a time: enough for a fast product, and few beside the features themselves.
_BLOCK = 4096


@dataclass(frozen=True)
class RidgeSums:
    """Sufficient statistics of a linear regression, which add up over pieces of the data.

    X'X and X'Y are kept centred, around the mean of the piece, and `+` moves both summands to their common
    mean (Chan et al.): taking the means off in the end instead would cancel all digits of features whose
    mean is large beside their deviation. All arrays are float64.

    Attributes:
        count: Number of rows, that is, of unmasked steps; with weights their sum.
        feature_mean: Array of shape `(features,)`.
        target_mean: Array of shape `(targets,)`.
        feature_products: Centred X'X, of shape `(features, features)`.
        cross_products: Centred X'Y, of shape `(features, targets)`.
        target_squares: The diagonal of the centred Y'Y, of shape `(targets,)`.

    Example:
        ```python
        pieces = (RidgeSums.of(states, targets, mask) for states, targets, mask in batches)
        kernel, bias = sum(pieces, RidgeSums.zeros(100, 1)).solve(ridge=1e-3)
        outputs = states @ kernel + bias
        ```

    References:
        - [Ridge regression: biased estimation for nonorthogonal problems](
          https://doi.org/10.1080/00401706.1970.10488634) (Hoerl and Kennard, 1970)
        - [Algorithms for computing the sample variance](
          https://doi.org/10.1080/00031305.1983.10483115) (Chan, Golub and LeVeque, 1983), equation 2.1
    """

    count: float
    feature_mean: np.ndarray
    target_mean: np.ndarray
    feature_products: np.ndarray
    cross_products: np.ndarray
    target_squares: np.ndarray

    @classmethod
    def zeros(cls, features: int, targets: int) -> RidgeSums:
        """Returns the sums of no rows, for `features` and `targets` columns."""
        return cls(
            count=0,
            feature_mean=np.zeros(features),
            target_mean=np.zeros(targets),
            feature_products=np.zeros((features, features)),
            cross_products=np.zeros((features, targets)),
            target_squares=np.zeros(targets),
        )

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        targets: np.ndarray,
        mask: np.ndarray | None = None,
        washout: int = 0,
        weights: np.ndarray | None = None,
    ) -> RidgeSums:
        """Returns the sums of one piece.

        Args:
            features: Array of shape `(..., features)`, for sequences `(batch, time, features)`.
            targets: Array of shape `(..., targets)`, of the same leading shape.
            mask: Boolean array of the leading shape, `True` at real steps; `None` if all are. What stands
                at other steps, be it NaN, does not enter.
            washout: Non-negative integer, how many real steps to leave out at the start of each sequence,
                where states still depend on the initial one. Defaults to 0.
            weights: Array of the leading shape, how much the squared error of a step counts: finite, not
                negative, and 1 at every step by default.

        Raises:
            ValueError: If shapes do not fit, `washout` is negative or not for sequences, or a value that
                enters is not finite.
        """
        features, targets = np.asarray(features), np.asarray(targets)
        leading = features.shape[:-1]
        if features.ndim < 2 or targets.shape[:-1] != leading:
            raise ValueError(
                "Received invalid values for arguments `features` and `targets`, expected arrays of rank 2 "
                "or more with equal shapes up to the last axis, got shapes "
                f"{features.shape} and {targets.shape}."
            )
        if mask is not None and np.shape(mask) != leading:
            raise invalid("mask", f"an array of shape {leading}", f"shape {np.shape(mask)}")
        if weights is not None and np.shape(weights) != leading:
            raise invalid("weights", f"an array of shape {leading}", f"shape {np.shape(weights)}")
        non_negative_integer("washout", washout)
        if washout > 0 and features.ndim < 3:
            expected = "0 for `features` that are not of shape (batch, time, features)"
            raise invalid("washout", expected, f"{washout} for shape {features.shape}")
        if mask is None:
            # A view, unlike what a mask selects.
            features, targets = features[..., washout:, :], targets[..., washout:, :]
            if weights is not None:
                weights = np.asarray(weights)[..., washout:]
        else:
            keep = np.asarray(mask, bool)
            if washout > 0:
                keep = keep & (np.cumsum(keep, axis=-1) > washout)
            features, targets = features[keep], targets[keep]
            if weights is not None:
                weights = np.asarray(weights)[keep]
        features, targets = _sequences(features), _sequences(targets)
        if weights is None:
            return cls._of_sequences(features, targets)
        weights = np.asarray(weights, "float64").reshape(features.shape[:2])
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise invalid("weights", "finite numbers of at least 0 at all unmasked steps", "others")
        return cls._of_sequences(features, targets, weights)

    @classmethod
    def _of_sequences(
        cls, features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
    ) -> RidgeSums:
        rows, steps, width = features.shape
        count = rows * steps if weights is None else float(weights.sum())
        if count == 0:
            return cls.zeros(width, targets.shape[-1])
        feature_mean, target_mean = (_mean(array, weights, count) for array in (features, targets))
        for name, mean in (("features", feature_mean), ("targets", target_mean)):
            if not np.isfinite(mean).all():
                raise invalid(name, "finite numbers at all unmasked steps", "NaN or infinity")
        columns = width + targets.shape[-1]
        products = np.zeros((columns, columns), order="F")
        for block in _blocks(rows, steps):
            both = np.empty((*features[block].shape[:2], columns))
            np.subtract(features[block], feature_mean, out=both[..., :width])
            np.subtract(targets[block], target_mean, out=both[..., width:])
            if weights is not None:
                both *= np.sqrt(weights[block])[..., np.newaxis]
            # Adds the lower half of the product, in place.
            products = dsyrk(
                1.0, both.reshape(-1, columns).T, beta=1.0, c=products, lower=True, overwrite_c=True
            )
        feature_products = products[:width, :width] + np.tril(products[:width, :width], -1).T
        target_squares = np.diag(products)[width:].copy()
        cross_products = products[width:, :width].T.copy()
        return cls(count, feature_mean, target_mean, feature_products, cross_products, target_squares)

    def __add__(self, other: RidgeSums) -> RidgeSums:
        """Returns the sums of the rows of both, whatever their order, up to rounding."""
        if self.cross_products.shape != other.cross_products.shape:
            raise ValueError(
                "Received sums for different columns, expected equal numbers of (features, targets), got "
                f"{self.cross_products.shape} and {other.cross_products.shape}."
            )
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        feature_shift = other.feature_mean - self.feature_mean
        target_shift = other.target_mean - self.target_mean
        weight = self.count * (other.count / count)
        return RidgeSums(
            count,
            self.feature_mean + feature_shift * (other.count / count),
            self.target_mean + target_shift * (other.count / count),
            self.feature_products + other.feature_products + weight * np.outer(feature_shift, feature_shift),
            self.cross_products + other.cross_products + weight * np.outer(feature_shift, target_shift),
            self.target_squares + other.target_squares + weight * np.square(target_shift),
        )

    def solve(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the readout that minimises `sum((x @ kernel + bias - y)**2) + ridge * sum(kernel**2)`.

        The first sum is over rows, each times its weight.

        Args:
            ridge: Non-negative float, as `alpha` in scikit-learn's `Ridge`: added to the diagonal of the
                centred X'X, whatever the number of rows; the bias is not penalised.

        Returns:
            The kernel, of shape `(features, targets)`, and the bias, of shape `(targets,)`.

        Raises:
            ValueError: If `ridge` is negative, or there are no rows.
            LinAlgError: If `ridge` is too small for these features; it is a `ValueError`, too.
        """
        self._check_rows()
        non_negative_float("ridge", ridge)
        matrix = self.feature_products + ridge * np.eye(len(self.feature_products))
        rounding = np.finfo("float64").eps * np.diag(matrix).max()
        try:
            factor, lower = cho_factor(matrix, lower=True, overwrite_a=True)
            # Rounding can let a singular matrix pass.
            singular = np.diag(factor).min() ** 2 <= rounding
        except LinAlgError:
            singular = True
        if singular:
            expected = (
                "a larger one, that makes X'X positive definite although features are constant, dependent or "
                "more than rows"
            )
            raise LinAlgError(str(invalid("ridge", expected, ridge)))
        kernel = cho_solve((factor, lower), self.cross_products)
        return kernel, self.target_mean - self.feature_mean @ kernel

    def squared_error(self, kernel: np.ndarray, bias: np.ndarray) -> float:
        """Returns the mean squared error, over rows and targets, of the outputs `x @ kernel + bias`.

        It is a difference of sums, and blind to errors below about 1e-15 of the mean square of what is
        subtracted: of the targets, or of `kernel` times the features if large terms cancel.

        Raises:
            ValueError: If there are no rows.
        """
        self._check_rows()
        deviation = self.feature_mean @ kernel + bias - self.target_mean
        explained = np.sum(kernel * (2 * self.cross_products - self.feature_products @ kernel), axis=0)
        squares = (self.target_squares - explained) / self.count
        return float(np.mean(np.maximum(squares, 0) + np.square(deviation)))

    def _check_rows(self) -> None:
        if self.count == 0:
            raise ValueError("Received sums of no rows, expected at least one unmasked step, got 0.")


def _mean(array: np.ndarray, weights: np.ndarray | None, count: float) -> np.ndarray:
    """Returns the mean over rows and steps, in float64; `count` is the sum of the weights."""
    if weights is None:
        return np.asarray(array.mean(axis=(0, 1), dtype="float64"))
    return np.einsum("rs,rsf->f", weights, array, dtype="float64") / count


def _sequences(array: np.ndarray) -> np.ndarray:
    """Returns an array of shape `(rows, steps, width)`, which for up to 3 axes is a view."""
    *rows, steps, width = array.shape
    return array.reshape(math.prod(rows), steps, width)


def _blocks(rows: int, steps: int) -> Iterator[tuple[slice, slice]]:
    """Cuts rows of `steps` steps into blocks of about `_BLOCK` steps."""
    height = max(1, _BLOCK // steps)
    for row, step in itertools.product(range(0, rows, height), range(0, steps, _BLOCK)):
        yield slice(row, row + height), slice(step, step + _BLOCK)


class RidgeFit(NamedTuple):
    """A fitted readout, whose outputs are `features @ kernel + bias`.

    Attributes:
        ridge: The chosen one.
        kernel: Array of shape `(features, targets)`.
        bias: Array of shape `(targets,)`.
        errors: The mean squared error of each ridge, in their order; infinity where it was too small.
    """

    ridge: float
    kernel: np.ndarray
    bias: np.ndarray
    errors: tuple[float, ...]


def fit_ridge(train: RidgeSums, validation: RidgeSums | None, alphas: Sequence[float]) -> RidgeFit:
    """Fits a readout for each ridge, and returns that with the smallest error on validation.

    Args:
        train: The sums to fit.
        validation: The sums to choose by; `None`, which is for a single ridge, takes `train` for the error.
        alphas: Non-negative floats. If errors are equal, the first is chosen.

    Raises:
        ValueError: If `alphas` is empty, or has several without `validation` to choose by, or none of them
            is large enough, or there are no rows.
    """
    if len(alphas) == 0 or (validation is None and len(alphas) > 1):
        raise invalid("alphas", "at least one, and just one without `validation`", list(alphas))
    errors, fits = [], []
    for ridge in alphas:
        try:
            kernel, bias = train.solve(ridge)
        except LinAlgError:
            if ridge == max(alphas):  # The others are no better.
                raise
            errors.append(math.inf)
            continue
        errors.append((train if validation is None else validation).squared_error(kernel, bias))
        fits.append((errors[-1], ridge, kernel, bias))
    _, ridge, kernel, bias = min(fits, key=lambda fit: fit[0])
    return RidgeFit(ridge, kernel, bias, tuple(errors))
