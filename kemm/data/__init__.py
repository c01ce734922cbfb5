"""Data: sources of batches, images, and the data module that mixes them."""

from typing import TYPE_CHECKING, Any

from kemm.data.captions import Captions
from kemm.data.cloze import ClozeFacts
from kemm.data.described import DescribedTriples
from kemm.data.descriptions import Descriptions
from kemm.data.episodes import Episodes
from kemm.data.ernie import MarkedRelatedMentions, MarkedTypedMentions
from kemm.data.graph_texts import GraphTexts
from kemm.data.images import DrawnFlags, FlagFiles, ImageFiles, Images
from kemm.data.injection import Injection
from kemm.data.linked import LinkedTexts
from kemm.data.prepare import AtlasBuild, Preparation
from kemm.data.pretraining_rows import PretrainingRows
from kemm.data.relation import RelatedMentions
from kemm.data.replaced import ReplacedMentions
from kemm.data.source import Source
from kemm.data.tokens import TextReader, train_tokenizer
from kemm.data.triples import Triples
from kemm.data.typing import TypedMentions
from kemm.data.vqa import Questions
from kemm.data.word_graph import WordGraphs

if TYPE_CHECKING:
    from kemm.data.mixture import Mixture

__all__ = [
    "AtlasBuild",
    "Captions",
    "ClozeFacts",
    "DescribedTriples",
    "Descriptions",
    "DrawnFlags",
    "Episodes",
    "FlagFiles",
    "GraphTexts",
    "ImageFiles",
    "Images",
    "Injection",
    "LinkedTexts",
    "MarkedRelatedMentions",
    "MarkedTypedMentions",
    "Mixture",
    "Preparation",
    "PretrainingRows",
    "Questions",
    "RelatedMentions",
    "ReplacedMentions",
    "Source",
    "TextReader",
    "Triples",
    "TypedMentions",
    "WordGraphs",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    """`Mixture` imports Lightning, so it is loaded when first used."""
    if name != "Mixture":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kemm.data.mixture import Mixture

    return Mixture
