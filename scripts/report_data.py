"""Shows what preprocessing made of a data set: ``python scripts/report_data.py data=data/clips root=videos``.

Writes one HTML page, by default report.html in the folder: counts by reason, histograms, pictures.
"""

from vasa.config import main
from vasa.preprocess.config import ReportDataRun


@main("report_data")
def run(cfg: ReportDataRun) -> None:
    from vasa.preprocess.report import report_data  # torch: after the command line is known to be right

    report_data(cfg)


if __name__ == "__main__":
    run()
