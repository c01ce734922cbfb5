"""Objectives: each hides something and scores the recovery."""

from kemm.objectives.base import Losses, Objective, Teacher, View
from kemm.objectives.classification import Classification, GradedClassification, MultiLabelClassification, SoftClassification
from kemm.objectives.contrastive import Contrastive, MomentumContrastive, SigmoidContrastive
from kemm.objectives.described import DescribedLinks
from kemm.objectives.entity import EntityDenoising
from kemm.objectives.linking import EntityLinking, MarginEntityLinking
from kemm.objectives.links import KvsAllLinks, LinkPrediction
from kemm.objectives.masked_image import MaskedPatch, MaskedRegion, MaskedRegionContrast, MaskedRegionRegression
from kemm.objectives.masked_lm import CausalLM, MaskedLM
from kemm.objectives.masked_mention import MaskedMention, PageEntity
from kemm.objectives.masking import EntitySpanMasking, TokenMasking, WholeWordMasking
from kemm.objectives.matching import Matching
from kemm.objectives.mention_detection import MentionDetection
from kemm.objectives.mention_linking import MentionLinking
from kemm.objectives.nodes import MaskedEntity, MaskedRelation, NodeMasking
from kemm.objectives.places import MultiLabelPlaceClassification, PlaceClassification
from kemm.objectives.prototypes import Prototypes
from kemm.objectives.recognition import Recognition
from kemm.objectives.replacement import ReplacementDetection
from kemm.objectives.retrieval import LatentRetrieval
from kemm.objectives.selection import PlaceSelection
from kemm.objectives.tagging import TokenClassification

__all__ = [
    "CausalLM",
    "Classification",
    "Contrastive",
    "DescribedLinks",
    "EntityDenoising",
    "EntityLinking",
    "EntitySpanMasking",
    "GradedClassification",
    "KvsAllLinks",
    "LatentRetrieval",
    "LinkPrediction",
    "Losses",
    "MarginEntityLinking",
    "MaskedEntity",
    "MaskedLM",
    "MaskedMention",
    "MaskedPatch",
    "MaskedRegion",
    "MaskedRegionContrast",
    "MaskedRegionRegression",
    "MaskedRelation",
    "Matching",
    "MentionDetection",
    "MentionLinking",
    "MomentumContrastive",
    "MultiLabelClassification",
    "MultiLabelPlaceClassification",
    "NodeMasking",
    "Objective",
    "PageEntity",
    "PlaceClassification",
    "PlaceSelection",
    "Prototypes",
    "Recognition",
    "ReplacementDetection",
    "SigmoidContrastive",
    "SoftClassification",
    "Teacher",
    "TokenClassification",
    "TokenMasking",
    "View",
    "WholeWordMasking",
]
