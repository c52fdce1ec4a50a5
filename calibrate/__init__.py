"""From a frozen encoder and labelled frames to a bundle: data, adapters, objectives, training, evaluation.

Called, the package runs `advcal_edge.calibrate.run.calibrate`.
"""

from advcal_edge.verb import make_verb

make_verb(__name__, "advcal_edge.calibrate.run")
