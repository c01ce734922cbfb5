"""Objectives: each hides something and scores the recovery."""

from kemm.objectives.base import Losses, Objective, Teacher, View
from kemm.objectives.classification import Classification
from kemm.objectives.contrastive import Contrastive, MomentumContrastive, SigmoidContrastive
from kemm.objectives.entity import EntityDenoising
from kemm.objectives.linking import EntityLinking, MarginEntityLinking
from kemm.objectives.masked_image import MaskedPatch, MaskedRegion, MaskedRegionRegression
from kemm.objectives.masked_lm import CausalLM, MaskedLM
from kemm.objectives.masking import EntitySpanMasking, TokenMasking, WholeWordMasking
from kemm.objectives.matching import Matching

__all__ = [
    "CausalLM",
    "Classification",
    "Contrastive",
    "EntityDenoising",
    "EntityLinking",
    "EntitySpanMasking",
    "Losses",
    "MarginEntityLinking",
    "MaskedLM",
    "MaskedPatch",
    "MaskedRegion",
    "MaskedRegionRegression",
    "Matching",
    "MomentumContrastive",
    "Objective",
    "SigmoidContrastive",
    "Teacher",
    "TokenMasking",
    "View",
    "WholeWordMasking",
]
