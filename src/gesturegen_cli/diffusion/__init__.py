"""The objective, the samplers and long form of stage 2."""
