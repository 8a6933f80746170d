"""Use: a trained network in use: predict, detect, export, cards, explanations, sliders.

In: a run's folder or an exported network, and photographs. Out: answers a face, cards, ONNX files.
A photograph is answered only here. Imports study and the rooms before it.
"""

from hmtl.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"hmtl.use.predict": ["load"]})
