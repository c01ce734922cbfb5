"""The loop that all systems share: run layers up to a height, run the inserted module, go on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, cast, final

from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.encoders import Encoder
from kemm.fusion.base import Fusion, FusionPoint, Streams
from kemm.nn import Attention, Packing

MIN_LAYERS, MAX_SHARE = 2, 0.8
"""From how many layers on, and below which share of the padded batch's cost, packing is faster (benchmarks/packing.py)."""


def _closed(entries: dict[str, Any]) -> dict[str, Any]:
    """A view of a dict that cannot be changed, and that FSDP2 does not look into: it puts one autograd function around all tensors that
    a unit is given, which gives what no loss reads a gradient of zeros, where one process has none and the optimiser leaves it alone."""
    return cast(dict[str, Any], MappingProxyType(entries))


@final
class FusionModel(nn.Module):
    """Encoders, and fusions between their layers.

    Args:
        encoders: Name -> encoder; the entry of that name in a batch is its input.
        fusions: In the order in which they run.
        share: Further input -> the encoder that it uses too (KEPLER's descriptions, triples on the entity table).
        packing: Whether layers run on packed rows where there is much padding: exact, but for which numbers dropout draws.
    """

    def __init__(
        self,
        encoders: dict[str, Encoder],
        fusions: Sequence[FusionPoint] = (),
        share: Mapping[str, str] | None = None,
        packing: bool = True,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusions = nn.ModuleList(point.fusion for point in fusions)
        self.inputs = {name: name for name in encoders} | dict(share or {})
        for name, encoder in self.inputs.items():
            if encoder not in encoders:
                raise ValueError(f"share[{name!r}] is {encoder!r}, but the encoders are {sorted(encoders)}")
        self.points = [self._heights(i, point.at) for i, point in enumerate(fusions)]
        for i, point in enumerate(fusions):
            self._check_order(i, fusions)
            self._check_tables(f"fusions[{i}], {type(point.fusion).__name__},", point.fusion)
        self.packing = packing and not any(fusion.reads_padding for fusion in self.fusions)

    def _heights(self, i: int, at: Mapping[str, int | str]) -> dict[str, int]:
        heights = {}
        for name, height in at.items():
            if name not in self.inputs:
                raise ValueError(f"fusions[{i}] is placed at {name!r}, but the inputs are {sorted(self.inputs)}")
            top = self.top(name)
            heights[name] = top if height == "top" else int(height)
            if not 0 <= heights[name] <= top:
                raise ValueError(f"fusions[{i}] is placed at {name}: {height}, but that encoder has heights 0 to {top}")
        return heights

    def _check_order(self, i: int, fusions: Sequence[FusionPoint]) -> None:
        """Refuses a fusion below one that runs before it: what was climbed does not come down again, and the loop would pass it over."""
        one = self.points[i]
        for j, other in enumerate(self.points[:i]):
            below = [name for name in one if one[name] < other.get(name, 0)]
            if not below:
                continue
            name = below[0]
            above = any(one[stream] > other.get(stream, one[stream]) for stream in one)
            right = f"place it at {name}: {other[name]} or higher" + ("" if above else f", or list it before fusions[{j}]")
            passed = f"{_said(i, fusions)}, is passed over where {_said(j, fusions)}, has run"
            raise ValueError(f"{passed}, which takes {name} to height {other[name]}; {right}")

    def _check_tables(self, who: str, fusion: Fusion) -> None:
        for name, rows in fusion.tables.items():
            if name not in self.inputs:
                raise ValueError(f"{who} reads the table of {name!r}, but the inputs are {sorted(self.inputs)}")
            given = self.encoder(name).limits.get("ids", rows)
            if given < rows:
                raise ValueError(f"{who} reads {rows} rows (row 0 is none) of the table of {name!r}, which has {given}")

    def encoder(self, name: str) -> Encoder:
        """The encoder of an input."""
        encoder = self.encoders[self.inputs[name]]
        assert isinstance(encoder, Encoder)
        return encoder

    def table(self, name: str) -> Tensor:
        """The vectors (N, D) of an input's entity encoder, row 0 "none" included."""
        table = self.encoder(name).table
        assert isinstance(table, Tensor)
        return table

    def top(self, name: str) -> int:
        """The height above the last layer of an input's encoder."""
        return self.encoder(name).top

    def embed(self, name: str, value: Any) -> Stream:
        """The stream of an entry of the batch: embedded, or as it is where it is a stream already."""
        return value if isinstance(value, Stream) else self.encoder(name).embed(value)

    def climb(self, name: str, stream: Stream, height: int) -> Stream:
        """The stream after its encoder's layers up to `height`."""
        encoder = self.encoder(name)
        layers = encoder.layers[stream.height : height]
        x, mask, positions = stream.x, stream.mask, stream.positions
        packing = self._packing(encoder, len(layers), stream)
        if packing is not None:
            x, mask = packing.pack(x), packing.mask
            positions = None if positions is None else packing.pack(positions)
        for layer in layers:
            x = layer(x, mask, positions)
        return stream._replace(x=x if packing is None else packing.unpack(x), height=max(height, stream.height))

    def _packing(self, encoder: Encoder, layers: int, stream: Stream) -> Packing | None:
        """How a stream is packed for so many layers, None where that does not pay or would be seen."""
        if not self.packing or encoder.reads_padding or layers < MIN_LAYERS or stream.x.dim() != 3 or stream.mask.dim() != 2:
            return None
        return Packing.of(stream.mask, stream.x.shape[-1], MAX_SHARE)

    def forward(self, batch: Batch) -> Streams:
        """All streams at their tops, those that fusions add included."""
        streams: Streams = {name: self.embed(name, batch[name]) for name in self.inputs if name in batch}
        for at, fusion in zip(self.points, self.fusions, strict=True):
            if not at.keys() <= streams.keys() or any(streams[name].height > height for name, height in at.items()):
                continue  # a modality that this batch lacks, or a stream that starts higher
            for name, height in at.items():
                streams[name] = self.climb(name, streams[name], height)
            assert isinstance(fusion, Fusion)
            if fusion.wants(streams, batch):
                streams = streams | fusion(_closed(streams), _closed(batch), self)
        return {name: self.climb(name, s, self.top(name)) if name in self.inputs else s for name, s in streams.items()}

    @contextmanager
    def trace(self, attention: bool = False) -> Iterator[dict[str, Tensor]]:
        """Record the states of the next forward, which is not packed.

        Args:
            attention: Whether to record attention probabilities too (the explicit path is taken: exact, slower).

        Yields:
            A dict that fills: `text.0` after the embedding, `text.3` after the third layer, `fusions.2.text` what the third fusion
            made of the text, `fusions.2.co.attention` (B, H, L, M) the probabilities of an attention, by the module's name.
        """
        record: dict[str, Tensor] = {}
        handles = []
        packing, self.packing = self.packing, False
        for name, encoder in self.encoders.items():
            modules = [encoder.embed, *self.encoder(name).layers]
            for height, module in enumerate(modules):
                handles.append(module.register_forward_hook(_record_states(record, f"{name}.{height}")))
        for i, fusion in enumerate(self.fusions):
            handles.append(fusion.register_forward_hook(_record_states(record, f"fusions.{i}")))
        attentions = {name: m for name, m in self.named_modules() if isinstance(m, Attention)} if attention else {}
        for name, module in attentions.items():
            module.explicit = True
            handles.append(module.weights.register_forward_hook(_record_states(record, name.removeprefix("encoders."))))
        try:
            yield record
        finally:
            self.packing = packing
            for handle in handles:
                handle.remove()
            for module in attentions.values():
                module.explicit = False


def _said(i: int, fusions: Sequence[FusionPoint]) -> str:
    places = ", ".join(f"{name}: {height}" for name, height in fusions[i].at.items())
    return f"fusions[{i}], {type(fusions[i].fusion).__name__} at {{{places}}}"


def _record_states(record: dict[str, Tensor], name: str) -> Any:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            record[name] = output
        elif isinstance(output, Stream):
            record[name] = output.x
        else:
            record.update({f"{name}.{stream}": value.x for stream, value in output.items()})

    return hook


def count_parameters(module: nn.Module, trainable: bool = False) -> int:
    """Number of parameters, each shared one once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
