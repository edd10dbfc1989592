"""Concept title: what the visitor sees and moves."""

from explainers import concept_id as explain
from figures import concept_id as figures
from ui import chooser
from ui.language import translate as _
from ui.page import Page

page = Page("concept_id")
photo = chooser.current()


@page.step
def brightness(step):
    threshold = step.live_slider(_("Threshold"), range(explain.LEVELS), 128, key="threshold")
    step.reset()
    found = step.run(explain.measure_brightness, step.image(photo), threshold)
    step.figure(figures.histogram(found.counts, threshold, _), key="histogram")
    step.says(share=found.share, threshold=threshold)
    step.fact(percent=100 * found.share)
    step.data(level=range(explain.LEVELS), pixels=found.counts)


page.close()
