"""Local Gaussians: what is usual for a cell, direction by direction, which a distance to single vectors does not know.

All cells of all good pictures are whitened together and fall into a few clusters (Lloyd 1982); each has a covariance of
its own, drawn towards that of all as far as it has few cells. The distance is the least of Mahalanobis to the clusters.

Good pictures that are learned later move no Gaussian: their cells that lie far are kept as exceptions, in the
whitening of all.
"""

import msgspec
import numpy as np

from edge.bank import Features, Grid
from edge.coreset import Floats, Indices, k_centre, squared_distances
from edge.nearest import sample

CLUSTERS = 16
ROUNDS = 12
# Share of the mean variance that every direction is given: else rounding and noise would count most.
SHRINKAGE = 0.1
# A cluster's own covariance counts n / (n + this x c): one of c numbers is trusted from a few times c cells on.
TRUST = 2
# Keeps a picture of one grey from being divided by nothing.
LEAST_VARIANCE = 1e-8
# Exceptions kept: a picture of 256 x 256 has as many cells here.
MOST_EXCEPTIONS = 256


class LocalGaussians(msgspec.Struct, frozen=True, kw_only=True):
    """Distances of a cell x: |x `weights` - `bias`| in each cluster's c columns of [c, clusters * c], the least.

    `exceptions` [e, c] are points in the whitening of all, x `white` - `centre`, from which the distance counts as well.
    """

    weights: Floats
    bias: Floats
    white: Floats
    centre: Floats
    exceptions: Floats

    @property
    def clusters(self) -> int:
        """How many there are."""
        return len(self.bias) // len(self.centre)


def every_second(features: Features, grid: Grid) -> Features:
    """Every second row and column of cells [n, cells, c]: as good as all of them, at a quarter of the cost."""
    images, _, channels = features.shape
    return features.reshape(images, *grid, channels)[:, ::2, ::2].reshape(images, -1, channels)


def fit_gaussians(features: Features, seed: int = 0) -> LocalGaussians:
    """Of pictures [n, cells, c]."""
    cells = np.concatenate([features[image][taken] for image, taken in sample(features, seed=seed)]).astype(np.float32)
    mean = cells.mean(0)
    white = _whitening(_covariance(cells - mean))
    cells = (cells - mean) @ white
    labels, centres = _clusters(cells, seed)
    whole = _covariance(cells)
    locals_ = [_whitening(_drawn(cells[labels == cluster], whole)) for cluster in range(len(centres))]
    return LocalGaussians(
        weights=np.ascontiguousarray(np.hstack([white @ local for local in locals_]), np.float32),
        bias=np.concatenate([(mean @ white + centre) @ local for centre, local in zip(centres, locals_, strict=True)]),
        white=white,
        centre=mean @ white,
        exceptions=np.zeros((0, cells.shape[1]), np.float32),
    )


def gaussian_distances(model: LocalGaussians, picture: Features) -> Floats:
    """Distances [cells] of a picture [cells, c]."""
    cells = picture.astype(np.float32)
    apart = np.full(len(cells), np.inf, np.float32)
    if model.clusters:
        squared = np.square(cells @ model.weights - model.bias)
        apart = squared.reshape(len(cells), model.clusters, -1).sum(2).min(1)
    if len(model.exceptions):
        apart = np.minimum(apart, squared_distances(cells @ model.white - model.centre, model.exceptions).min(1))
    return np.sqrt(apart)


def except_for(model: LocalGaussians, features: Features, far: Floats | float) -> LocalGaussians:
    """The model with those cells of good pictures [m, cells, c] as exceptions that lie farther than `far`, [cells]."""
    distant = [picture.astype(np.float32)[gaussian_distances(model, picture) > far] for picture in features]
    found = np.concatenate([cells @ model.white - model.centre for cells in distant])
    every = np.concatenate([model.exceptions, found])
    return msgspec.structs.replace(model, exceptions=every[k_centre(every, MOST_EXCEPTIONS)])


def exceptions_alone(model: LocalGaussians, features: Features, far: Floats | float) -> LocalGaussians:
    """The exceptions that these pictures add, and nothing else."""
    bare = msgspec.structs.replace(model, exceptions=model.exceptions[:0])
    added = except_for(bare, features, far)
    return msgspec.structs.replace(added, weights=model.weights[:, :0], bias=model.bias[:0])


def _clusters(cells: Floats, seed: int) -> tuple[Indices, Floats]:
    """The cluster of each cell, and the centres, after a few of Lloyd's rounds."""
    count = min(CLUSTERS, len(cells))
    centres = cells[np.random.default_rng(seed).choice(len(cells), count, replace=False)]
    labels: Indices = np.zeros(len(cells), np.int64)
    for _ in range(ROUNDS):
        labels = np.argmin(np.square(centres).sum(1) / 2 - cells @ centres.T, axis=1)
        sums: Floats = np.eye(count, dtype=np.float32)[labels].T @ cells
        sizes = np.bincount(labels, minlength=count)[:, None]
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres).astype(np.float32)
    return labels, centres


def _drawn(own: Floats, whole: Floats) -> Floats:
    trust = len(own) / (len(own) + TRUST * whole.shape[0])
    return trust * _covariance(own) + (1 - trust) * whole if len(own) > 1 else whole


def _covariance(cells: Floats) -> Floats:
    centred = cells - cells.mean(0)
    return centred.T @ centred / np.float32(max(1, len(cells) - 1))


def _whitening(covariance: Floats) -> Floats:
    values, axes = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    return (axes / np.sqrt(values + SHRINKAGE * values.mean() + LEAST_VARIANCE)).astype(np.float32)
