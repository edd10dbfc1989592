"""The concepts that are built, in the order of the learning path.

To add one: a line here, and the files named after it.
"""

from dataclasses import dataclass

from ui.language import translate as _


@dataclass(frozen=True)
class Concept:
    """One concept: its name in every room.

    Attributes:
        id: the name.
        section: one of `sections`.
        icon: for the navigation.
        thumbnail: the step whose first picture stands for the concept in the gallery.
    """

    id: str
    section: str
    icon: str
    thumbnail: str


CONCEPTS = (
    Concept("receptive_field", "layers", ":material/center_focus_strong:", thumbnail="trained"),
    Concept("activations", "layers", ":material/show_chart:", thumbnail="curves"),
    Concept("initialization", "training", ":material/casino:", thumbnail="layer_by_layer"),
    Concept("optimizers", "training", ":material/trending_down:", thumbnail="race"),
    Concept("softmax_temperature", "training", ":material/thermostat:", thumbnail="dark_knowledge"),
    Concept("attention_maps", "attention", ":material/visibility:", thumbnail="patches"),
    Concept("anchors_nms", "detection", ":material/select_all:", thumbnail="suppression"),
)


def sections() -> dict[str, str]:
    """Sections in the order of the concept map, with their names in the page's language."""
    return {
        "layers": _("Layers"),
        "training": _("Training"),
        "attention": _("Attention"),
        "networks": _("Networks"),
        "detection": _("Detection"),
        "segmentation": _("Segmentation"),
        "pose": _("Pose and motion"),
        "generative": _("Generative models and representation"),
        "hardware": _("Hardware"),
    }


def by_section() -> dict[str, list[Concept]]:
    """The built concepts of each section; empty sections are left out."""
    listed = {s: [c for c in CONCEPTS if c.section == s] for s in sections()}
    return {section: concepts for section, concepts in listed.items() if concepts}
