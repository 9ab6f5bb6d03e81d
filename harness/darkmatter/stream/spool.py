"""Sparse codes kept on disk during a run, so that an SAE is encoded once.

One file per SAE and shard, chunk after chunk: counts [n] int32, indices [nnz] int32, values [nnz]
float32: 8 bytes a code instead of 4 * d bytes an error vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import xxhash
from torch import Tensor

from darkmatter.errors import ItemError
from darkmatter.sae.codes import Codes


@dataclass(frozen=True)
class _Place:
    offset: int
    n_rows: int
    n_codes: int
    reconstruction: int | None


@dataclass
class ShardSpool:
    """The codes of one SAE on one shard, in the order in which the chunks came."""

    path: Path
    d_sae: int
    places: list[_Place] = field(default_factory=list)
    digest: xxhash.xxh3_128 = field(default_factory=xxhash.xxh3_128)

    def append(self, file: BinaryIO, codes: Codes, reconstruction: Tensor | None = None) -> None:
        """Write the codes of the next chunk; of a reconstruction that is given, the hash is kept."""
        counts = codes.offsets.diff().to(torch.int32)
        seen = None if reconstruction is None else _hash(reconstruction)
        self.places.append(_Place(file.tell(), len(counts), len(codes.values), seen))
        for part in (counts, codes.indices.to(torch.int32), codes.values.to(torch.float32)):
            block = part.cpu().contiguous().numpy()
            file.write(block.data)
            self.digest.update(block.data)
        if seen is not None:
            self.digest.update(seen.to_bytes(8, "little"))

    def require_same(self, chunk: int, reconstruction: Tensor) -> None:
        """Refuse an SAE that decodes the same codes to something else than before."""
        seen = self.places[chunk].reconstruction
        if seen is not None and seen != _hash(reconstruction):
            message = (
                "the SAE's functions keep state: decoding the same codes again gave another reconstruction. "
                "Pass the whole map too: from_functions(encode, decode, reconstruct=...)."
            )
            raise ItemError(message)

    def read(self, chunk: int, device: torch.device) -> Codes:
        """The codes of one chunk."""
        place = self.places[chunk]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            counts = np.fromfile(file, np.int32, place.n_rows)
            indices = np.fromfile(file, np.int32, place.n_codes)
            values = np.fromfile(file, np.float32, place.n_codes)
        offsets = torch.zeros(place.n_rows + 1, dtype=torch.int64)
        torch.cumsum(torch.from_numpy(counts), dim=0, out=offsets[1:])
        return Codes(
            values=torch.from_numpy(values).to(device),
            indices=torch.from_numpy(indices).to(device=device, dtype=torch.int64),
            offsets=offsets.to(device),
            d_sae=self.d_sae,
            batch_shape=(place.n_rows,),
        )


def _hash(reconstruction: Tensor) -> int:
    return xxhash.xxh3_64_intdigest(reconstruction.cpu().contiguous().numpy().data)
