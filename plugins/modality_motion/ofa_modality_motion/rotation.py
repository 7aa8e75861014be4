"""Rotations as Euler angles, matrices, and the continuous 6-D form of Zhou et al. 2019, by PyTorch3D.

The library (and torch with it) is imported at the first conversion: a worker that needs none does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_GIMBAL = 1.0 - 1e-9


def euler_to_matrix(angles: np.ndarray, order: str) -> np.ndarray:
    """Matrices [..., 3, 3] of angles [..., n] in degrees: ``order`` ``ZXY`` means Rz @ Rx @ Ry; axes may recur."""
    result = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for place, axis in enumerate(order):
        result = result @ _about(axis, np.radians(angles[..., place]))
    return result


def matrix_to_euler(matrices: np.ndarray, order: str) -> np.ndarray:
    """Angles [..., 3] in degrees of matrices [..., 3, 3]; the third is 0 where the second is a right angle.

    Raises:
        ValueError: ``order`` is not made of three different axes.
    """
    if sorted(order) != ["X", "Y", "Z"]:
        raise ValueError(f"rotation order '{order}' is not made of X, Y and Z")
    angles = _converted("matrix_to_euler_angles", np.clip(matrices, -1.0, 1.0), order)
    i, j, k = ("XYZ".index(axis) for axis in order)
    parity = 1.0 if (j - i) % 3 == 1 else -1.0
    locked = np.abs(matrices[..., i, k]) > _GIMBAL
    alone = np.arctan2(parity * matrices[..., k, j], matrices[..., j, j])
    angles[..., 0] = np.where(locked, alone, angles[..., 0])
    angles[..., 2] = np.where(locked, 0.0, angles[..., 2])
    return np.degrees(angles)


def matrix_to_6d(matrices: np.ndarray) -> np.ndarray:
    """The first two columns, one after the other: [..., 3, 3] -> [..., 6]."""
    return _converted("matrix_to_rotation_6d", np.swapaxes(matrices, -1, -2))


def matrix_from_6d(values: np.ndarray) -> np.ndarray:
    """The rotations [..., 3, 3] nearest to [..., 6] in the sense of Gram and Schmidt; zeros give the identity."""
    rows = _converted("rotation_6d_to_matrix", _independent(values))
    return np.swapaxes(rows, -1, -2)


def about_vertical(angle: np.ndarray | float) -> np.ndarray:
    """Matrices [..., 3, 3] of a turn about y by radians [...]."""
    return _about("Y", np.asarray(angle, dtype=np.float64))


def heading(matrices: np.ndarray) -> np.ndarray:
    """Turn about y in radians [...] after which matrices [..., 3, 3] face: where their z axis points on the ground."""
    return np.arctan2(matrices[..., 0, 2], matrices[..., 2, 2])


def _about(axis: str, angle: np.ndarray) -> np.ndarray:
    direction = np.eye(3)["XYZ".index(axis)]
    return _converted("axis_angle_to_matrix", angle[..., None] * direction)


def _converted(name: str, values: np.ndarray, *arguments: Any) -> np.ndarray:
    """What a function of the library makes of values, in double precision."""
    import torch
    from pytorch3d import transforms

    found: Tensor = getattr(transforms, name)(torch.tensor(values, dtype=torch.float64), *arguments)
    return found.numpy()


def _independent(values: np.ndarray) -> np.ndarray:
    """Pairs of vectors [..., 6]; where two span no plane, others that do, nearest to the first."""
    first = _unit(values[..., :3], np.array([1.0, 0.0, 0.0]))
    steep = np.abs(first[..., 1:2]) >= 0.9
    spare = np.where(steep, np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    second = _unit(_apart(values[..., 3:], first), _apart(spare, first))
    return np.concatenate([first, second], axis=-1)


def _apart(vectors: np.ndarray, first: np.ndarray) -> np.ndarray:
    """What of vectors stands at a right angle to unit vectors."""
    along = (first * vectors).sum(-1, keepdims=True)
    return vectors - along * first


def _unit(vectors: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-8, vectors / np.maximum(length, 1e-8), fallback)
