"""Why the states of a network cannot be carried on, in the words of its settings."""

from gatewise.settings import Experiment


def obstacles(experiment: Experiment) -> str:
    """The settings of a network that need more than the new step, and why; "": there is none."""
    network, found = experiment.network, []
    if experiment.preparation.bigrams > 0:
        found.append(
            f"preparation.bigrams = {experiment.preparation.bigrams} reads each token with the one "
            "before it"
        )
    if network.bidirectional:
        found.append("network.bidirectional = true reads the last step first")
    if network.asinh_features:
        found.append(
            f"network.asinh_features = {network.asinh_features:g} measures each step from the mean "
            "of all"
        )
    if network.pooling == "attention":
        found.append("network.pooling = attention weighs all steps anew after each step")
    return ", and ".join(found)
