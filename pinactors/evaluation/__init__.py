"""How good the engine is: labelled photographs in, figures with their uncertainty, a report and a fit out."""
