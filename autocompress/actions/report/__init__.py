"""Write one HTML page on a study and one of its trials; the page needs no network. Needs the extra `report`.

Modules: report_data (gathers stored results), ablation (measures the effect of each decision), page (renders the HTML).
"""

from autocompress.actions.report.ablation import DecisionEffect, ablate
from autocompress.actions.report.page import render
from autocompress.actions.report.report_data import ReportData, gather

__all__ = ["DecisionEffect", "ReportData", "ablate", "gather", "render"]
