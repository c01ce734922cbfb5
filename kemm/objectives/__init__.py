"""Objectives: each hides something and scores the recovery."""

from kemm.objectives.base import Losses, Objective, Teacher, View
from kemm.objectives.classification import Classification, SoftClassification
from kemm.objectives.contrastive import Contrastive, MomentumContrastive, SigmoidContrastive
from kemm.objectives.entity import EntityDenoising
from kemm.objectives.linking import EntityLinking, MarginEntityLinking
from kemm.objectives.links import LinkPrediction
from kemm.objectives.masked_image import MaskedPatch, MaskedRegion, MaskedRegionContrast, MaskedRegionRegression
from kemm.objectives.masked_lm import CausalLM, MaskedLM
from kemm.objectives.masking import EntitySpanMasking, TokenMasking, WholeWordMasking
from kemm.objectives.matching import Matching
from kemm.objectives.places import PlaceClassification
from kemm.objectives.recognition import Recognition
from kemm.objectives.retrieval import LatentRetrieval

__all__ = [
    "CausalLM",
    "Classification",
    "Contrastive",
    "EntityDenoising",
    "EntityLinking",
    "EntitySpanMasking",
    "LatentRetrieval",
    "LinkPrediction",
    "Losses",
    "MarginEntityLinking",
    "MaskedLM",
    "MaskedPatch",
    "MaskedRegion",
    "MaskedRegionContrast",
    "MaskedRegionRegression",
    "Matching",
    "MomentumContrastive",
    "Objective",
    "PlaceClassification",
    "Recognition",
    "SigmoidContrastive",
    "SoftClassification",
    "Teacher",
    "TokenMasking",
    "View",
    "WholeWordMasking",
]
