"""Names of the engines that `verify` must reject; `conftest` puts them together."""

SUBTLE = ("coarse_weights", "rounded_input")
"""Two ways of being caught: accuracy under attack, and gradients."""
OTHERS = (
    "overflowing",
    "purification",
    "constant_output",
    "added_noise",
    "saturated_temperature",
    "dead_int8_gradient",
    "shuffled_outputs",
    "leaking_rows",
    "stale_buffer",
    "nan_gradient",
    "reversed_gradient",
    "a_third_reversed",
    "coloured_alone",
    "batch_of_seven",
    "coloured_on_the_grid",
    "strong_colour",
    "little_colour",
    "lifted",
    "sleeper",
    "rotated",
)
