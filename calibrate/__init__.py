"""From a frozen encoder and labelled frames to a bundle: data, adapters, objectives, training, figures."""
