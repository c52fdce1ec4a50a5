"""From a calibrated bundle to ONNX graphs and TensorRT plans.

Called, the package runs `advcal_edge.export.run.export`.
"""

from advcal_edge.verb import make_verb

make_verb(__name__, "advcal_edge.export.run")
