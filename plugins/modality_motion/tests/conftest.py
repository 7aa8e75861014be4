"""PyTorch3D takes seconds to load, which no example of a property may wait for."""

import pytorch3d.transforms  # noqa: F401
