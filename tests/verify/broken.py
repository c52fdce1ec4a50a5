"""Names of the engines that `verify` must reject; `conftest` puts them together."""

SUBTLE = (
    "coarse_weights",
    "constant_output",
    "rounded_input",
    "added_noise",
    "overflowing",
    "purification",
    "saturated_temperature",
    "dead_int8_gradient",
)
PLAIN = (
    "shuffled_outputs",
    "leaking_rows",
    "stale_buffer",
    "nan_gradient",
    "reversed_gradient",
    "a_third_reversed",
)
