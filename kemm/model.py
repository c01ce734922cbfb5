"""The loop that all systems share: run layers up to a height, run the inserted module, go on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.encoders import Encoder
from kemm.fusion.base import FusionPoint, Streams
from kemm.nn import Attention


class FusionModel(nn.Module):
    """Encoders, and fusions between their layers.

    Args:
        encoders: Name -> encoder; the entry of that name in a batch is its input.
        fusions: In the order in which they run.
        share: Further input -> the encoder that it uses too (KEPLER's descriptions, triples on the entity table).
    """

    def __init__(
        self, encoders: dict[str, Encoder], fusions: Sequence[FusionPoint] = (), share: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusions = nn.ModuleList(point.fusion for point in fusions)
        self.inputs = {name: name for name in encoders} | dict(share or {})
        for name, encoder in self.inputs.items():
            if encoder not in encoders:
                raise ValueError(f"share[{name!r}] is {encoder!r}, but the encoders are {sorted(encoders)}")
        self.points = [self._heights(i, point.at) for i, point in enumerate(fusions)]

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

    def encoder(self, name: str) -> Encoder:
        """The encoder of an input."""
        encoder = self.encoders[self.inputs[name]]
        assert isinstance(encoder, Encoder)
        return encoder

    def top(self, name: str) -> int:
        """The height above the last layer of an input's encoder."""
        return self.encoder(name).top

    def embed(self, name: str, value: Any) -> Stream:
        """The stream of an entry of the batch: embedded, or as it is where it is a stream already."""
        return value if isinstance(value, Stream) else self.encoder(name).embed(value)

    def climb(self, name: str, stream: Stream, height: int) -> Stream:
        """The stream after its encoder's layers up to `height`."""
        x = stream.x
        for layer in self.encoder(name).layers[stream.height : height]:
            x = layer(x, stream.mask, stream.positions)
        return stream._replace(x=x, height=max(height, stream.height))

    def forward(self, batch: Batch) -> Streams:
        """All streams at their tops, those that fusions add included."""
        streams: Streams = {name: self.embed(name, batch[name]) for name in self.inputs if name in batch}
        for at, fusion in zip(self.points, self.fusions, strict=True):
            if not at.keys() <= streams.keys() or any(streams[name].height > height for name, height in at.items()):
                continue  # a modality that this batch lacks, or a stream that starts higher
            for name, height in at.items():
                streams[name] = self.climb(name, streams[name], height)
            streams = streams | fusion(streams, batch, self)
        return {name: self.climb(name, s, self.top(name)) if name in self.inputs else s for name, s in streams.items()}

    @contextmanager
    def trace(self, attention: bool = False) -> Iterator[dict[str, Tensor]]:
        """Record the states of the next forward.

        Args:
            attention: Whether to record attention probabilities too (the explicit path is taken: exact, slower).

        Yields:
            A dict that fills: `text.0` after the embedding, `text.3` after the third layer, `fusions.2.text` what the third fusion
            made of the text, `fusions.2.co.attention` (B, H, L, M) the probabilities of an attention, by the module's name.
        """
        record: dict[str, Tensor] = {}
        handles = []
        for name, encoder in self.encoders.items():
            modules = [encoder.embed, *encoder.layers]
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
            for handle in handles:
                handle.remove()
            for module in attentions.values():
                module.explicit = False


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

