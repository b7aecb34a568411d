"""One neuron of a stored study, as a notebook shows it."""

from markupsafe import Markup

from polyneuron.eval.neurons.facts import NeuronFacts
from polyneuron.eval.neurons.page import grids_of, page_json, page_markdown, sentences_of
from polyneuron.eval.tables.html import html


class NeuronPage:
    """What `polyneuron neuron` shows of one neuron; a notebook shows it as tables."""

    def __init__(self, facts: NeuronFacts) -> None:
        self.facts = facts
        """Everything, as numbers and texts."""

    def __repr__(self) -> str:
        facts = self.facts
        return f"NeuronPage({facts.neuron} of {facts.model!r}: in {len(facts.sets)} sets, {len(facts.contexts)} tokens)"

    def _repr_html_(self) -> str:
        heading = Markup("<h3>{} of {}</h3>").format(self.facts.neuron, self.facts.model)
        sentences = Markup("").join(Markup("<li>{}.</li>").format(each) for each in sentences_of(self.facts))
        tables = (Markup("<h4>{}</h4>{}").format(each.title, html(each)) for each in grids_of(self.facts))
        return str(heading + Markup("<ul>{}</ul>").format(sentences) + Markup("").join(tables))

    def to_json(self) -> str:
        """Everything, as one JSON object."""
        return page_json(self.facts)

    def to_markdown(self) -> str:
        """A heading, sentences, and the tables under headings of their own."""
        return page_markdown(self.facts)
