"""kemm: knowledge- and multimodal-enhanced pre-trained models, as encoders, fusions and objectives."""

__version__ = "0.1.0"
