"""One HTML page on a study that needs no network: what was found, what the chosen model is and is not, and how sure that is.

Modules: facts (gathers what is known), ablation (measures what is not), figures (plots as plotly's JSON), page (the HTML). It
needs the extra `report`.
"""

from autocompress.actions.report.ablation import DecisionEffect, ablate
from autocompress.actions.report.facts import ReportData, gather
from autocompress.actions.report.page import render

__all__ = ["DecisionEffect", "ReportData", "ablate", "gather", "render"]
