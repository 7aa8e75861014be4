"""Rotations as Euler angles, matrices, and the continuous 6-D form of Zhou et al. 2019."""

from __future__ import annotations

import numpy as np

_GIMBAL = 1.0 - 1e-9


def euler_to_matrix(angles: np.ndarray, order: str) -> np.ndarray:
    """Matrices [..., 3, 3] of angles [..., 3] in degrees: ``order`` ``ZXY`` means Rz @ Rx @ Ry."""
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
    i, j, k = ("XYZ".index(axis) for axis in order)
    parity = 1.0 if (j - i) % 3 == 1 else -1.0
    sine = np.clip(parity * matrices[..., i, k], -1.0, 1.0)
    locked = np.abs(sine) > _GIMBAL
    first = np.arctan2(-parity * matrices[..., j, k], matrices[..., k, k])
    third = np.arctan2(-parity * matrices[..., i, j], matrices[..., i, i])
    alone = np.arctan2(parity * matrices[..., k, j], matrices[..., j, j])
    angles = np.stack(
        [np.where(locked, alone, first), np.arcsin(sine), np.where(locked, 0.0, third)], axis=-1
    )
    return np.degrees(angles)


def matrix_to_6d(matrices: np.ndarray) -> np.ndarray:
    """The first two columns, one after the other: [..., 3, 3] -> [..., 6]."""
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=-1)


def matrix_from_6d(values: np.ndarray) -> np.ndarray:
    """The rotations [..., 3, 3] nearest to [..., 6] in the sense of Gram and Schmidt; zeros give the identity."""
    first = _unit(values[..., :3], np.array([1.0, 0.0, 0.0]))
    second = values[..., 3:] - (first * values[..., 3:]).sum(-1, keepdims=True) * first
    spare = np.where(
        np.abs(first[..., 1:2]) < 0.9, np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    )
    spare = spare - (first * spare).sum(-1, keepdims=True) * first
    second = _unit(second, _unit(spare, spare))
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def about_vertical(angle: np.ndarray | float) -> np.ndarray:
    """Matrices [..., 3, 3] of a turn about y by radians [...]."""
    return _about("Y", np.asarray(angle, dtype=np.float64))


def heading(matrices: np.ndarray) -> np.ndarray:
    """Turn about y in radians [...] after which matrices [..., 3, 3] face: where their z axis points on the ground."""
    return np.arctan2(matrices[..., 0, 2], matrices[..., 2, 2])


def _unit(vectors: np.ndarray, fallback: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-8, vectors / np.maximum(length, 1e-8), fallback)


def _about(axis: str, angle: np.ndarray) -> np.ndarray:
    matrix = np.zeros((*angle.shape, 3, 3))
    index = "XYZ".index(axis)
    one, two = (index + 1) % 3, (index + 2) % 3
    matrix[..., index, index] = 1.0
    matrix[..., one, one] = matrix[..., two, two] = np.cos(angle)
    matrix[..., one, two], matrix[..., two, one] = -np.sin(angle), np.sin(angle)
    return matrix
